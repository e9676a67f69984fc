"""What the tests of this folder share."""

from pathlib import Path

import pytest

from tests.support.offline import bakery
from tests.support.offline_watcher import Watched


@pytest.fixture
async def watched(tmp_path: Path) -> Watched:
    """One environment, loaded."""
    bakery(tmp_path, version=1)
    watched = Watched(tmp_path)
    await watched.watcher.load()
    return watched
