"""What the tests of deployment share: the image, and a network to run it on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import Network, isolated_network
from tests.support.image import Image, built_image


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """The image of this checkout."""
    with built_image("VERSION=1.2.3", "REVISION=0123abc") as image:
        yield image


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """A network of the test's own."""
    with isolated_network(tmp_path) as network:
        yield network
