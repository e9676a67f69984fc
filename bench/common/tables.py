"""Tables for people: aligned on a terminal, and as Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from bench.common.figures import Figure
from bench.common.results import Column, Outcome, Table


def as_text(table: Table) -> str:
    """A table for a terminal."""
    return "\n".join([table.title, *_aligned([_headings(table), *_cells(table)])])


def as_markdown(table: Table) -> str:
    """A table with its title and what it is about."""
    rule = ["---", *("---:" for _ in table.columns)]
    lines = lines_of([_headings(table), rule, *_cells(table)])
    return "\n".join([f"**{table.title}.** {table.about}", "", *lines])


def lines_of(grid: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table in Markdown; the second row is the rule below the headings."""
    return (f"| {' | '.join(row)} |" for row in grid)


def not_measured(outcome: Outcome) -> str:
    """Why there are no tables, or not all of them."""
    if outcome.missing:
        return f"NOT MEASURED: this machine has no {' and no '.join(outcome.missing)}"
    return f"FAILED: {outcome.failed}"


def _headings(table: Table) -> list[str]:
    return ["", *(column.name for column in table.columns)]


def _cells(table: Table) -> Iterator[list[str]]:
    for row in table.rows:
        yield [row.label, *map(_cell, row.figures, table.columns)]


def _cell(figure: Figure | None, column: Column) -> str:
    if figure is None:
        return "-"
    shown = f"{figure.median:,.{column.digits}f}"
    if column.spread and figure.runs > 1:
        return f"{shown} ±{figure.spread:.0%}"
    return shown


def _aligned(grid: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[place]) for row in grid) for place in range(len(grid[0]))]
    for row in grid:
        first, *others = row
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([f"{first:<{widths[0]}}", *cells]).rstrip()
