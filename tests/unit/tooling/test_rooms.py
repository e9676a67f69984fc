"""Every room says in its ``__init__`` what it owns and who may import it."""

import ast
from pathlib import Path

import pytest

from tests.support.checkout import tracked_files

_PROJECT = Path(__file__).parents[3]
_PACKAGE = _PROJECT / "src" / "ff_proxy"
_ROOMS = sorted(path.parent for path in _PACKAGE.glob("*/__init__.py"))
_MODULES = [name for name in tracked_files() if name.endswith(".py")]
_FEW_WORDS = 15
_MOST_LINES = 450


def test_all_rooms_are_found() -> None:
    """Or the test below would pass for none."""
    assert {"api", "app", "evaluation", "http", "store", "upstream", "wire"} <= {room.name for room in _ROOMS}


@pytest.mark.parametrize("room", _ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_it_owns_and_who_may_import_it(room: Path) -> None:
    """A newcomer reads it first."""
    text = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))) or ""
    summary, _, paragraph = text.partition("\n\n")
    assert "\n" not in summary
    assert len(paragraph.split()) >= _FEW_WORDS
    assert "may import" in " ".join(paragraph.split())


def test_no_module_has_grown_beyond_one_duty() -> None:
    """Longer ones are two."""
    lines = {name: len((_PROJECT / name).read_text("utf-8").splitlines()) for name in _MODULES}
    assert {"src/ff_proxy/http/connection.py", "tests/unit/tooling/test_rooms.py"} <= lines.keys()
    assert {name: length for name, length in lines.items() if length > _MOST_LINES} == {}
