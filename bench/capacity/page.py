"""docs/capacity.md: written from results and the model, never by hand."""

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.capacity import formulas
from bench.capacity.formatting import seconds
from bench.capacity.measured import LackingError, read_units
from bench.capacity.sections import (
    fleet_bounds,
    growth,
    incidents,
    members_needed,
    per_member,
    per_redis,
    unit_costs,
)
from bench.capacity.units import Units
from bench.common.results import Report

PAGE = Path(__file__).parents[2] / "docs" / "capacity.md"

_INTRODUCTION = """\
# Capacity

How large a fleet must be, what one core, one gigabyte and one Redis carry, and what breaks first. Measured
are the unit costs; everything else on this page follows from them by the formulas in
`bench/capacity/formulas.py`. `make page` writes it from the newest file in `bench/results`. For a fleet of
your own:

    python -m bench.capacity --sdks 200000 --flags 300 --changes 2 --session 10
    python -m bench.capacity --help"""

_PARTS: tuple[Callable[[Units], Iterator[str]], ...] = (
    per_member,
    per_redis,
    members_needed,
    fleet_bounds,
    incidents,
    growth,
    unit_costs,
)


def page(report: Report | None) -> str:
    """The whole page, in Markdown; where figures are lacking it says which."""
    return "\n\n".join([_INTRODUCTION, *_body(report)]) + "\n"


def _body(report: Report | None) -> Iterator[str]:
    if report is None:
        yield "**There are no results yet: `make bench` measures what this page is made of.**"
        yield from _assumptions()
        return
    yield (
        f"Measured {report.measured}, commit {report.commit}, on {report.machine.cores} cores of"
        f" {report.machine.processor}, {report.machine.memory_gb} GB."
    )
    if report.quick:
        yield "**A quick run: it shows that everything works, and its figures mean nothing.**"
    try:
        units = read_units(report)
    except LackingError as error:
        yield "**Nothing can be worked out: these figures are not in the results.**"
        yield "\n".join(f"- {', '.join(wanted)}" for wanted in error.wanted)
        yield from _assumptions()
        return
    for part in _PARTS:
        yield from part(units)
    yield from _assumptions()


def _assumptions() -> Iterator[str]:
    yield "## What this assumes"
    yield "\n".join(
        f"- {line}"
        for line in (
            (
                "Costs are those of the machine named above, on loopback: another processor has others, and"
                " TCP over a network costs somewhat more. Flags are the made-up ones of `bench/generate.py`,"
                " with a rule each, and compress better than real ones."
            ),
            (
                "SDKs poll and post usage every 60 seconds, streams carry a heartbeat every 14; SDKs keep one"
                " connection for requests beside their stream, .NET two streams. Server SDKs are Python, Go,"
                " Node, Java and .NET in equal parts, client SDKs JavaScript (three of five), Android and"
                " iOS. JavaScript runs on pages of another origin, so that browsers ask before the first"
                " request to each address."
            ),
            (
                "Changes are of flags. A change of a target group has server SDKs fetch that group, but"
                " client SDKs every evaluation again: count it as one change for the former, and look at the"
                " CPU of all evaluations for the latter."
            ),
            (
                "Fetches, evaluations, authentication and usage cost what they cost a member of a fleet,"
                " which asks Redis before it answers. A proxy by itself does more."
            ),
            (
                "Work is shared evenly over members and over the cores of a member. Costs per request do not"
                " depend on load, but for streams that are opened in a crowd, which is measured. How long"
                " requests wait for each other is not worked out: keep CPU at half."
            ),
            (
                f"A round trip to Redis takes {seconds(formulas.ROUND_TRIP)}, Harness answers within"
                f" {seconds(formulas.HARNESS_SECONDS)}, a balancer knows at once which members are up. None"
                " of this is measured."
            ),
            "A fleet's time to start is measured from a data directory.",
            (
                f"In each environment {formulas.USAGE_CAPACITY:,} counts of usage wait for Harness at most,"
                f" and {formulas.TARGET_CAPACITY:,} targets are kept. What is dropped beyond is counted."
            ),
            (
                "Valid where the figures were measured and in proportion beyond: 10 to 1,000 flags (a"
                " straight line up to 5,000), up to some 20,000 streams in one process, 20 environments, two"
                " members. What a thousand members or ten million SDKs do for real, nobody has measured: the"
                " formulas say what follows if each behaves as one does."
            ),
        )
    )
