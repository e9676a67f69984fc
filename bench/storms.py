"""A storm of reconnects, and a change, on one process, for real and as bench.capacity simulates them.

What a stream, an event and a fetch cost in CPU is measured in the same run; the simulation knows nothing else
of the process.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from random import Random
from statistics import median

from bench.capacity.news import Stage, spread
from bench.capacity.sdks import JAVASCRIPT, Sdk, Step, always
from bench.capacity.storm import Proxy, Storm, crowd
from bench.common.crowd import crowd as real_crowd
from bench.common.environments import Made
from bench.common.figures import Figure, percentile
from bench.common.plan import Plan
from bench.common.processes import raise_file_limit
from bench.common.results import Column, Row, Table
from bench.common.site import Site, site
from bench.common.streams import Clients, compiled
from bench.common.threads import control_port
from bench.connections import until_streams

_MADE = Made("storm", 100)
_SEED = 20
_GAP = 100
_COLUMNS = (
    Column("half s", 3),
    Column("simulated half s", 3),
    Column("p99 s", 3),
    Column("simulated p99 s", 3),
    Column("all s", 3, spread=True),
    Column("simulated all s", 3),
    Column("all, real / simulated", 2, spread=True),
)
_ABOUT = (
    "Seconds from the moment at which streams are lost until half, 99 % and all are open again. At once: no"
    " client waits before it comes back; over a time: each waits for a random part of it."
)
_ABOUT_NEWS = (
    "Seconds from a flip at Harness until half, 99 % and all of the clients have fetched the flag after its"
    " event. When the first client is told is taken from what is measured."
)

_Times = tuple[float, float, float]
"""Seconds until half, 99 % and all are open."""


def measure(plan: Plan) -> Iterator[Table]:
    """The tables; raises ``BenchError`` if a stream does not open, or a change does not arrive."""
    chance = Random(_SEED)
    count = min(plan.pick(4000, 100), raise_file_limit() // 2)
    with site([_MADE]) as own:
        rows = []
        for label, over in (("at once", 0.0), ("over 0.1 s", 0.1), ("over 1 s", 1.0)):
            pairs = []
            for _ in range(plan.pick(5, 1)):
                _, used = _real(own, [0.0] * count)
                real, _ = _real(own, [chance.uniform(0, over) for _ in range(count)])
                pairs.append((real, _simulated(max(used / count, 1e-6), over, count, chance)))
            rows.append(Row(f"{count:,} streams {label}", _figures(pairs)))
        yield Table("Storms", _ABOUT, _COLUMNS, tuple(rows))
        yield Table("News", _ABOUT_NEWS, _COLUMNS, (_news(own, plan.pick(2000, 50), plan.pick(20, 2)),))


def _real(own: Site, delays: Sequence[float]) -> tuple[_Times, float]:
    """When streams are open that are asked for after ``delays``, and the seconds of CPU that it took."""
    before = own.proxy.cpu()
    with real_crowd(own.proxy.port, own.stream(_MADE), delays) as opened:
        used = own.proxy.cpu() - before
        times = [delay + wait for delay, wait in zip(delays, opened.waits, strict=True)]
    until_streams(own.proxy, 0)
    return (percentile(times, 0.5), percentile(times, 0.99), max(times)), used


def _simulated(cost: float, over: float, count: int, chance: Random) -> _Times:
    waiting = Sdk(JAVASCRIPT.name, client=True, ended=always(0, over), refused=JAVASCRIPT.refused)
    member = Proxy(speed=1.0, room=float(count))
    storm = Storm(dict.fromkeys(Step, cost), [member], chance)
    storm.settle(crowd(((waiting, 1.0),), count, chance, most=count), [member])
    storm.end_all(member, 0.0)
    storm.engine.at(0.0, storm.begin, member)
    told = storm.run()
    return told.half, told.most, told.last


def _news(own: Site, streams: int, rounds: int) -> Row:
    """A change to so many streams, each of whose clients fetches it."""
    served = cycle(("two", "one"))
    path = f"/client/env/{_MADE.id}/feature-configs/feature-1?cluster=1"
    with (
        compiled() as programs,
        control_port(lambda _: own.saas.flip("feature-1", _MADE, next(served))) as control,
    ):
        clients = Clients(own.proxy, control, own.stream(_MADE), streams)
        told = clients.run(programs, rounds, _GAP)
        fetched = replace(clients, fetch=own.raw(_MADE, path, {})).run(programs, rounds, _GAP)
    first = median(one.first for one in told.rounds) / 1e3
    event, fetch = told.cpu / streams, max(0.0, fetched.cpu - told.cpu) / streams
    simulated = spread(Stage([first], 1.0, streams, 1.0, event, fetch))
    expected = (simulated.half, simulated.most, simulated.last)
    real = [(one.half / 1e3, one.most / 1e3, one.last / 1e3) for one in fetched.rounds]
    return Row(f"{streams:,} streams, each fetches", _figures([(one, expected) for one in real]))


def _figures(pairs: Sequence[tuple[_Times, _Times]]) -> tuple[Figure, ...]:
    columns = []
    for place in range(3):
        columns.append(Figure.of(real[place] for real, _ in pairs))
        columns.append(Figure.of(simulated[place] for _, simulated in pairs))
    return (*columns, Figure.of(real[2] / simulated[2] for real, simulated in pairs))
