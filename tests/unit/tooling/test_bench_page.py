"""docs/performance.md is what the newest results give, compared with spec/behaviour#goals."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from bench.capacity.measured import Wanted
from bench.common.figures import Figure, percentile
from bench.common.results import (
    Column,
    Outcome,
    Report,
    Row,
    Table,
    latest_report,
    newest_report,
    write_report,
)
from bench.common.tables import as_text
from bench.goals import GOALS, Goal
from bench.page import PAGE, page
from tests.unit.tooling.capacity_figures import report

BESIDE_OTHERS = [goal for goal in GOALS if goal.column == "ratio to Go proxy" or goal.benchmark == "ofrep"]
FASTER = Goal("times as fast", "reads", "Flags, 10", "polled", "ratio to nginx", least=1)
SMALLER = Goal("kB of a stream", "streams", "One change", "ff-proxy", "kB/stream", most=4)


def wanted(goal: Goal) -> Wanted:
    """Where a goal's figure stands."""
    return Wanted(goal.benchmark, goal.table, goal.row, goal.column)


def with_values(values: Mapping[Goal, float]) -> Report:
    """A report with these figures and no others."""
    return report({wanted(goal): value for goal, value in values.items()})


def verdicts(text: str) -> list[str]:
    """The last cells of the table of goals."""
    rows = [
        line
        for line in text.split("## The figures to reach")[1].split("##", maxsplit=1)[0].splitlines()
        if line
    ]
    return [row.strip("| ").split("|")[-1].strip() for row in rows if row.startswith("|")][2:]


def test_the_page_is_what_the_newest_results_give() -> None:
    """Nobody writes it by hand: ``make page`` does."""
    assert PAGE.read_text(encoding="utf-8") == page(newest_report())


def test_the_newest_results_have_a_figure_for_every_goal() -> None:
    """But for those that need a program which not every machine has: a renamed row is found here."""
    held = newest_report()
    if held is not None:
        assert {goal.what for goal in GOALS if goal.figure(held) is None} <= {
            goal.what for goal in BESIDE_OTHERS
        }


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [(FASTER, 1.0, True), (FASTER, 0.99, False), (SMALLER, 4.0, True), (SMALLER, 4.01, False)],
)
def test_a_goal_is_reached_up_to_its_bound(goal: Goal, value: float, *, reached: bool) -> None:
    """The median counts."""
    assert goal.reached(Figure.of([0.0, value, 100.0])) is reached


def test_a_goal_finds_its_figure() -> None:
    """By benchmark, table, row and column, each of which may be missing."""
    held = with_values({FASTER: 1.5})
    figure = FASTER.figure(held)
    assert figure is not None
    assert figure.median == 1.5
    for other in ("benchmark", "table", "row", "column"):
        changed = {name: getattr(FASTER, name) for name in ("benchmark", "table", "row", "column")}
        assert Goal("", **changed | {other: "another"}, least=1).figure(held) is None


def test_the_page_says_what_is_reached_missed_and_not_measured() -> None:
    """Each goal once, in order."""
    first, second, *others = GOALS
    assert first.least is not None
    assert second.least is not None
    text = page(with_values({first: first.least, second: second.least / 2}))
    assert verdicts(text) == ["reached", "**missed**", *["not measured"] * len(others)]


def test_what_could_not_be_measured_is_named() -> None:
    """Instead of tables, or below those that were there."""
    held = msgspec.structs.replace(
        report({}, quick=True),
        outcomes=(Outcome("reads", 0, missing=("wrk", "nginx")), Outcome("posts", 1, failed="no answer")),
    )
    text = page(held)
    assert "no wrk and no nginx" in text
    assert "FAILED: no answer" in text
    assert "figures mean nothing" in text
    assert "no results" in page(None)


def test_results_survive_being_kept(tmp_path: Path) -> None:
    """The newest are found, whatever their file is called."""
    older = with_values({FASTER: 1.0})
    newer = msgspec.structs.replace(older, measured="2026-02-01T00:00Z", commit="0000000")
    for one in (newer, older):
        write_report(one, tmp_path)
    assert latest_report(tmp_path)[1] == newer


def test_one_benchmark_may_be_repeated(tmp_path: Path) -> None:
    """The others of the same commit and day stay; a quick run replaces nothing."""
    both = with_values({FASTER: 1.0, SMALLER: 1.0})
    write_report(both, tmp_path)
    write_report(with_values({FASTER: 2.0}), tmp_path)
    write_report(
        msgspec.structs.replace(with_values({SMALLER: 3.0}), quick=True, measured="2026-03-01T00:00Z"),
        tmp_path,
    )
    held = latest_report(tmp_path)[1]
    figures = [goal.figure(held) for goal in (FASTER, SMALLER)]
    assert [figure.median for figure in figures if figure is not None] == [2.0, 1.0]


def test_a_figure_is_median_and_range() -> None:
    """And shows half its range as a share of the median where a column asks for it."""
    figure = Figure.of([3.0, 1.0, 2.0])
    assert (figure.median, figure.low, figure.high, figure.runs) == (2.0, 1.0, 3.0, 3)
    assert percentile(range(1, 101), 0.99) == 99
    columns = (Column("plain", 1), Column("with spread", 1, spread=True))
    shown = as_text(Table("Title", "", columns, (Row("row", (figure, figure)), Row("none", (None, None)))))
    assert [line.split() for line in shown.splitlines()[2:]] == [
        ["row", "2.0", "2.0", "±50%"],
        ["none", "-", "-"],
    ]
