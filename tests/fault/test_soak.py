"""SDKs that come and go: nothing of them is left, and none holds up the loop (``make soak`` goes on)."""

from pathlib import Path

import pytest

from tests.chaos.soak import soak
from tests.chaos.world import Form


@pytest.mark.timeout(120)
async def test_who_has_gone_leaves_nothing(tmp_path: Path) -> None:
    """Memory, files and tasks; see ``Soak`` for what is held against the proxy."""
    report = await soak(Form.SQLITE, 1, 4, tmp_path)
    assert report.visits > 10
