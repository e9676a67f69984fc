"""No member of a fleet may log a secret or a stack trace, whatever is done to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.log_scan import scan


@pytest.fixture(autouse=True)
def _clean_logs(tmp_path: Path) -> Iterator[None]:
    """Look through the logs when the test is over."""
    yield
    scan(tmp_path)
