"""A storm of reconnects, and a change, on one process: how long they take, and how much CPU.

What ``bench.capacity`` says of storms and changes is that they take as long as their work: this shows it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from random import Random

from bench.common.crowd import crowd
from bench.common.environments import Made
from bench.common.figures import Figure, percentile
from bench.common.local_servers import control_port
from bench.common.plan import Plan
from bench.common.processes import raise_file_limit
from bench.common.results import Column, Row, Table
from bench.common.site import Site, site
from bench.common.streams import Clients, compiled
from bench.connections import until_streams

_MADE = Made("storm", 100)
_SEED = 20
_GAP = 100
_COLUMNS = (
    Column("half s", 3),
    Column("p99 s", 3),
    Column("all s", 3, spread=True),
    Column("work s", 3),
    Column("all / work", 2, spread=True),
)
_ABOUT = (
    "Seconds from the moment at which streams are lost until half, 99 % and all are open again, and seconds"
    " of the process's CPU for all of them. At once: no client waits before it comes back; over a time: each"
    " waits for a random part of it."
)
_ABOUT_NEWS = (
    "Seconds from a flip at Harness until half, 99 % and all of the clients have fetched the flag after its"
    " event, and seconds of the process's CPU for that."
)

_Run = tuple[float, float, float, float]
"""Seconds until half, 99 % and all are done, and seconds of CPU."""


def measure(plan: Plan) -> Iterator[Table]:
    """The tables; raises ``BenchError`` if a stream does not open, or a change does not arrive."""
    chance = Random(_SEED)
    count = min(plan.pick(4000, 100), raise_file_limit() // 2)
    with site([_MADE]) as own:
        rows = []
        for label, over in (("at once", 0.0), ("over 0.1 s", 0.1), ("over 1 s", 1.0)):
            runs = [
                _storm(own, [chance.uniform(0, over) for _ in range(count)]) for _ in range(plan.pick(5, 1))
            ]
            rows.append(Row(f"{count:,} streams {label}", _figures(runs)))
        yield Table("Storms", _ABOUT, _COLUMNS, tuple(rows))
        yield Table("News", _ABOUT_NEWS, _COLUMNS, (_news(own, plan.pick(2000, 50), plan.pick(20, 2)),))


def _storm(own: Site, delays: Sequence[float]) -> _Run:
    """When the streams that are requested after ``delays`` are open."""
    before = own.proxy.cpu()
    with crowd(own.proxy.port, own.stream(_MADE), delays) as opened:
        used = own.proxy.cpu() - before
        times = [delay + wait for delay, wait in zip(delays, opened.waits, strict=True)]
    until_streams(own.proxy, 0)
    return percentile(times, 0.5), percentile(times, 0.99), max(times), used


def _news(own: Site, streams: int, rounds: int) -> Row:
    """A change to that many streams; each client fetches it."""
    served = cycle(("two", "one"))
    path = f"/client/env/{_MADE.id}/feature-configs/feature-1?cluster=1"
    with (
        compiled() as programs,
        control_port(lambda _: own.saas.flip("feature-1", _MADE, next(served))) as control,
    ):
        clients = Clients(own.proxy, control, own.stream(_MADE), streams)
        fetched = replace(clients, fetch=own.raw(_MADE, path, {})).run(programs, rounds, _GAP)
    runs = [(one.half / 1e3, one.most / 1e3, one.last / 1e3, fetched.cpu) for one in fetched.rounds]
    return Row(f"{streams:,} streams, each fetches", _figures(runs))


def _figures(runs: Sequence[_Run]) -> tuple[Figure, ...]:
    columns = [Figure.of(run[place] for run in runs) for place in range(4)]
    # A quick run may use less than a tick of the system's clock.
    return (*columns, Figure.of(run[2] / max(run[3], 1e-3) for run in runs))
