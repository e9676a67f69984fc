"""docs/proof.md is what its tables and the newest runs make it, and docs/security.md names real tests."""

import re
from pathlib import Path

from tests.chaos.matrix import CELLS, KINDS
from tests.chaos.page import PAGE, page
from tests.chaos.records import Record, read_records

ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date() -> None:
    """``python -m tests.chaos.page`` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page(read_records())


def test_every_cell_is_on_the_page() -> None:
    """Each link has a row with something in the columns of its kinds, measured or not."""
    rows = {
        cells[0]: dict(zip(KINDS, cells[1:], strict=True))
        for line in page({}).splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == len(KINDS) + 1
    }
    for cell in CELLS:
        assert rows[cell.link][cell.kind]


def test_what_runs_took_is_shown() -> None:
    """In brackets, with all ways of making the trouble."""
    cells = [{"link": "Redis", "kind": "full", "seconds": seconds, "last": ""} for seconds in (1.25, 7.0)]
    record = Record("matrix-redis", "2026-01-01", "abc", "3.11", {"each": 1.0, "cells": cells})
    assert "degraded (1.2, 7.0)" in page({record.name: record})


def test_the_threat_model_names_tests_that_exist() -> None:
    """A renamed test must not leave a threat without one."""
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|requirements)/[\w/.]+|Dockerfile)`", text)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"`make (\w+)`", text) if f"\n{name}:" not in targets] == []
