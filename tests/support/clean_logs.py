"""No proxy of a test may log a secret or a stack trace, whatever is done to it; for ``conftest.py``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.log_scan import scan


@pytest.fixture(autouse=True)
def clean_logs(tmp_path: Path) -> Iterator[None]:
    """Look through the logs when the test is over."""
    yield
    scan(tmp_path)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for the logs of processes that a module shares; they are looked through in the end."""
    directory = tmp_path_factory.mktemp("logs")
    yield directory
    scan(directory)
