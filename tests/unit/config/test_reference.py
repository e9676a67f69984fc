"""Every option is described, and the committed page says the same as the program."""

from pathlib import Path

import pytest

from ff_proxy.config import records
from ff_proxy.config.declare import Option
from ff_proxy.config.reference import WIDTH, as_markdown, as_text

PAGE = Path(__file__).parents[3] / "docs/options.md"


def test_the_page_is_what_the_declarations_make() -> None:
    """``make docs`` writes it."""
    assert PAGE.read_text(encoding="utf-8") == as_markdown(records.ALL)


@pytest.mark.parametrize("option", records.ALL, ids=lambda option: option.flag)
def test_the_listing_shows_every_option(option: Option[object]) -> None:
    """Flag, environment variable, type and default stand on one line, the meaning below."""
    lines = as_text(records.ALL).splitlines()
    number, line = next(
        (n, line)
        for n, line in enumerate(lines)
        if line.startswith((f"  -{option.flag} ", f"  -{option.flag},"))
    )
    assert option.env in line
    assert option.kind.name in line
    assert (f"default {option.shown_default}" in line) == bool(option.shown_default)
    assert option.meaning.split()[0] in lines[number + 1]


def test_the_listing_fits_a_terminal() -> None:
    """No line of prose is wider than a page."""
    assert all(len(line) <= WIDTH for line in as_text(records.ALL).splitlines())


def test_names_are_unique() -> None:
    """Neither a flag nor an environment variable means two things."""
    flags = [name for option in records.ALL for name in option.names]
    variables = [option.env for option in records.ALL]
    assert len(set(flags)) == len(flags)
    assert len(set(variables)) == len(variables)


def test_what_has_no_use_says_so() -> None:
    """In the listing as in the warning."""
    text = " ".join(as_text(records.ALL).split())
    for option in records.ALL:
        assert (f"{option.meaning}; ignored." in text) == option.ignored


def test_no_cell_of_the_page_breaks_its_table() -> None:
    """A type such as plain|escaped is written with a comma."""
    rows = [line for line in as_markdown(records.ALL).splitlines() if line.startswith("| `")]
    assert len(rows) == len(records.ALL)
    assert {row.count("|") for row in rows} == {7}
