"""docs/performance.md: written from a report, never by hand."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.common.results import Outcome, Report
from bench.common.tables import as_markdown, lines_of, not_measured
from bench.goals import GOALS, Goal
from bench.suite import BENCHMARKS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"

_INTRODUCTION = """\
# Performance

Measured, not promised. `make bench` measures all of it, beside the peers that the machine has, and
`make bench-NAME` one part; `make page` writes this page from the newest file in `bench/results`. Servers and
clients share the machine's cores on loopback, what is compared takes turns in one run, and a figure is the
median of the runs (± half of the distance between lowest and highest). Ratios to a peer in the same run
count; absolute figures are those of one machine. CPU is that of the server's process or processes."""


def page(report: Report | None) -> str:
    """The whole page, in Markdown; without a report it says that there is none."""
    if report is None:
        return f"{_INTRODUCTION}\n\n**There are no results yet.**\n"
    parts = [_INTRODUCTION, *_measured_on(report), "## The figures to reach", *_goals(report)]
    for outcome in report.outcomes:
        parts += _section(outcome)
    return "\n\n".join(parts) + "\n"


def _measured_on(report: Report) -> Iterator[str]:
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    yield (
        f"{report.measured}, commit {report.commit}, {machine.cores} cores of {machine.processor},"
        f" {machine.memory_gb} GB, {machine.system}, load {machine.load} before. {versions}."
    )
    if report.quick:
        yield "**A quick run: it shows that everything works, and its figures mean nothing.**"


def _goals(report: Report) -> Iterator[str]:
    yield "Of each, the median is held against the bound."
    heading = (("figure", "goal", "measured", ""), ("---", "---:", "---:", "---"))
    yield "\n".join(lines_of([*heading, *(_verdict(goal, report) for goal in GOALS)]))


def _verdict(goal: Goal, report: Report) -> Sequence[str]:
    bound = f"≥ {goal.least:g}" if goal.least is not None else f"≤ {goal.most:g}"
    figure = goal.figure(report)
    if figure is None:
        return goal.what, bound, "-", "not measured"
    return goal.what, bound, f"{figure.median:,.4g}", "reached" if goal.reached(figure) else "**missed**"


def _section(outcome: Outcome) -> Iterator[str]:
    yield f"## {outcome.name}"
    about = BENCHMARKS[outcome.name].about if outcome.name in BENCHMARKS else ""
    yield f"{about} `make bench-{outcome.name}`, {outcome.seconds:.0f} seconds.".strip()
    if outcome.missing or outcome.failed:
        yield not_measured(outcome)
    for table in outcome.tables:
        yield as_markdown(table)
