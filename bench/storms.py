"""A storm of reconnects on one process, for real, beside what the simulation of bench.capacity says of it.

What opening a stream costs in CPU is measured in the same run, when as many come at once; the simulation
knows nothing else of the process.
"""

from collections.abc import Iterator, Sequence
from random import Random

from bench.capacity.sdks import JAVASCRIPT, Sdk, Step, always
from bench.capacity.storm import Proxy, Storm, crowd
from bench.common.crowd import crowd as real_crowd
from bench.common.environments import Made
from bench.common.figures import Figure, percentile
from bench.common.plan import Plan
from bench.common.processes import raise_file_limit
from bench.common.results import Column, Row, Table
from bench.common.site import Site, site
from bench.connections import until_streams

_MADE = Made("storm", 100)
_SEED = 20
_COLUMNS = (
    Column("half s", 3),
    Column("simulated", 3),
    Column("p99 s", 3),
    Column("simulated", 3),
    Column("all s", 3, spread=True),
    Column("simulated", 3),
    Column("all, real / simulated", 2, spread=True),
)
_ABOUT = (
    "Seconds from the moment at which streams are lost until half, 99 % and all are open again. At once: no"
    " client waits before it comes back; over a time: each waits for a random part of it."
)

_Times = tuple[float, float, float]
"""Seconds until half, 99 % and all are open."""


def measure(plan: Plan) -> Iterator[Table]:
    """The table; raises ``BenchError`` if a stream does not open."""
    chance = Random(_SEED)
    count = min(plan.pick(4000, 100), raise_file_limit() // 2)
    with site([_MADE]) as own:
        rows = []
        for label, spread in (("at once", 0.0), ("over 0.1 s", 0.1), ("over 1 s", 1.0)):
            pairs = []
            for _ in range(plan.pick(5, 1)):
                _, used = _real(own, [0.0] * count)
                real, _ = _real(own, [chance.uniform(0, spread) for _ in range(count)])
                pairs.append((real, _simulated(max(used / count, 1e-6), spread, count, chance)))
            rows.append(Row(f"{count:,} streams {label}", _figures(pairs)))
    yield Table("Storms", _ABOUT, _COLUMNS, tuple(rows))


def _real(own: Site, delays: Sequence[float]) -> tuple[_Times, float]:
    """When streams are open that are asked for after ``delays``, and the seconds of CPU that it took."""
    before = own.proxy.cpu()
    with real_crowd(own.proxy.port, own.stream(_MADE), delays) as opened:
        used = own.proxy.cpu() - before
        times = [delay + wait for delay, wait in zip(delays, opened.waits, strict=True)]
    until_streams(own.proxy, 0)
    return (percentile(times, 0.5), percentile(times, 0.99), max(times)), used


def _simulated(cost: float, spread: float, count: int, chance: Random) -> _Times:
    waiting = Sdk(JAVASCRIPT.name, client=True, ended=always(0, spread), refused=JAVASCRIPT.refused)
    member = Proxy(speed=1.0, room=float(count))
    storm = Storm(dict.fromkeys(Step, cost), [member], chance)
    storm.settle(crowd(((waiting, 1.0),), count, chance, most=count), [member])
    storm.end_all(member, 0.0)
    storm.engine.at(0.0, storm.begin, member)
    told = storm.run()
    return told.half, told.most, told.last


def _figures(pairs: Sequence[tuple[_Times, _Times]]) -> tuple[Figure, ...]:
    columns = []
    for place in range(3):
        columns.append(Figure.of(real[place] for real, _ in pairs))
        columns.append(Figure.of(simulated[place] for _, simulated in pairs))
    return (*columns, Figure.of(real[2] / simulated[2] for real, simulated in pairs))
