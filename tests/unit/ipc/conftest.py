"""What the tests of this folder share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.ipc_pair import Pair


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Connected, and closed in the end."""
    made = Pair(tmp_path)
    with made.generations:
        async with made.serving(), made.worker:
            yield made
