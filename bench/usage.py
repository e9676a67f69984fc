"""CPU time of accepting usage: a posted body read, checked and merged, in this process."""

import time
from collections.abc import Callable, Iterator

from bench.common.environments import Made
from bench.common.figures import Figure
from bench.common.plan import Plan
from bench.common.results import Column, Row, Table
from bench.common.turns import in_turns
from bench.posts import usage_body
from ff_proxy.store.usage_buffer import UsageBuffer
from tests.support.usage_body import read_usage

_ENVIRONMENT = Made("usage", 1).id
_ABOUT = (
    "One posted body, in microseconds of CPU: decoded and checked, and that with merging into what is held."
    " Merging is with counts that are held already, and with counts that are all new."
)
_ROOM = 10_000_000_000


def measure(plan: Plan) -> Iterator[Table]:
    """The table."""
    rows = []
    for entries in plan.pick((3, 64, 325), (64,)):
        posts = plan.pick(max(20, 10_000 // entries), 20)
        body = usage_body(entries).encode()
        differing = [usage_body(entries, f"user-{number}").encode() for number in range(posts)]
        passes = [_reading([body] * posts), _taking([body] * posts), _taking(differing)]
        figures = [Figure.of(taken) for taken in in_turns(passes, plan.pick(5, 1), warm_up=True)]
        rows.append(Row(f"{len(body) / 1000:.1f} kB, {entries} counts", (*figures, *_each(figures, entries))))
    columns = ("read µs", "and merged µs", "and merged, all new µs")
    yield Table(
        "Usage posts",
        _ABOUT,
        (*(Column(name, 1, spread=True) for name in columns), Column("µs per count, merged", 2)),
        tuple(rows),
    )


def _each(figures: list[Figure], entries: int) -> tuple[Figure]:
    merged = figures[1]
    return (Figure.of([merged.median / entries]),)


def _reading(bodies: list[bytes]) -> Callable[[], float]:
    def read() -> float:
        begun = time.process_time()
        for body in bodies:
            read_usage(body, _ENVIRONMENT, 1)
        return (time.process_time() - begun) * 1e6 / len(bodies)

    return read


def _taking(bodies: list[bytes]) -> Callable[[], float]:
    def take() -> float:
        buffer = UsageBuffer(_ROOM)
        begun = time.process_time()
        for body in bodies:
            report = read_usage(body, _ENVIRONMENT, 1)
            buffer.add(report.counts, report.targets)
        return (time.process_time() - begun) * 1e6 / len(bodies)

    return take
