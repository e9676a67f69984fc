"""Trouble with every link of a proxy, of every kind: what ``tests/chaos/matrix.py`` promises is kept.

Some cells of each form, each for a second; ``make faults`` goes through all of them.
"""

from pathlib import Path

import pytest

from tests.chaos.driver import Endured, endure
from tests.chaos.matrix import CELLS, KINDS, cells_of
from tests.chaos.world import Form

# Cells that follow one another are alike.
_EVERY = 14


def test_every_cell_has_a_column() -> None:
    """A kind of trouble is one of those that the page lists."""
    assert {cell.kind for cell in CELLS} == set(KINDS)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("form", list(Form))
async def test_trouble_of_every_kind(tmp_path: Path, form: Form) -> None:
    """No user is refused or told anything wrong, and all is in order again afterwards."""
    cells = cells_of(form)[:: min(_EVERY, len(cells_of(form)) // 2)]
    told: list[Endured] = []
    await endure(form, cells, 1.0, tmp_path, told.append)
    assert [(one.link, one.kind) for one in told] == [(cell.link, cell.kind) for cell in cells]
