"""Hostile clients of every kind: a good one is served all the while, probes too, and little is left behind.

``make abuse`` does the same at full size.
"""

from pathlib import Path

import pytest

from tests.chaos.abuse import KINDS, Seen, abuse


@pytest.mark.timeout(180)
async def test_hostile_clients(tmp_path: Path) -> None:
    """Every third kind, at a hundredth of its size; see ``Abuse`` for what is held against the proxy."""
    told: list[Seen] = []
    seen = await abuse(0.01, tmp_path, told.append, KINDS[::3])
    assert [one.kind for one in seen] == [kind.__name__.replace("_", " ") for kind in KINDS[::3]]
    assert seen == told
