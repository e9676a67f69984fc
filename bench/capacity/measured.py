"""Unit costs from results: each from the figures of a benchmark; missing figures are named."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.capacity.units import Asked, Curve, RedisUnits, Units
from bench.common.results import Report
from bench.fleet import COUNTS, ENVIRONMENTS, FEW, MANY

_SIZES = (10, 100, 1000)
_RULED = "100 flags, 5 rules each"
_PER_CPU = "per CPU second"
_MICRO = 1e-6
_MEGA = 1e6
_KILO = 1e3
_STARTED = "Start from SQLite"
_CROWD = 10_000
_OURS = "ff-proxy"
_REDIS = ("commands", "bytes in", "bytes out", "CPU µs")


class Wanted(NamedTuple):
    """Where a figure stands in the results."""

    benchmark: str
    table: str
    row: str
    column: str


class LackingError(Exception):
    """The results lack figures that the model needs: ``wanted`` lists them."""

    def __init__(self, wanted: tuple[Wanted, ...]) -> None:
        super().__init__("; ".join(map(", ".join, wanted)))
        self.wanted = wanted


@dataclass(slots=True)
class _Reader:
    """Reads medians, and collects what is not there."""

    report: Report
    lacking: list[Wanted] = field(default_factory=list)

    def figure(self, benchmark: str, table: str, row: str, column: str) -> float:
        """One median; a missing one counts as 1 until all missing ones are known."""
        wanted = Wanted(benchmark, table, row, column)
        try:
            found = self.report.figure(*wanted)
        except KeyError:
            found = None
        if found is None:
            self.lacking.append(wanted)
            return 1.0
        return found.median

    def request(self, benchmark: str, table: str, row: str) -> float:
        """Seconds of CPU for one request."""
        return 1 / max(self.figure(benchmark, table, row, _PER_CPU), _MICRO)

    def asked(self, row: str) -> Asked:
        """The work of Redis for one operation."""
        commands, received, sent, cpu = (
            self.figure("fleet", "What is asked of Redis", row, column) for column in _REDIS
        )
        return Asked(commands, received + sent, cpu * _MICRO)

    def shared(self, row: str, alone: str) -> Asked:
        """The work for one of many concurrent operations; bytes are those of one ``alone``."""
        commands = self.figure("fleet", "A member under load", row, "commands of Redis")
        cpu = self.figure("fleet", "A member under load", row, "CPU µs of Redis")
        return Asked(commands, self.asked(alone).bytes, cpu * _MICRO)


def read_units(report: Report) -> Units:
    """The unit costs that a run of the benchmarks gave; raises ``LackingError``."""
    read = _Reader(report)
    units = _units(read)
    if read.lacking:
        raise LackingError(tuple(dict.fromkeys(read.lacking)))
    return units


def _units(read: _Reader) -> Units:
    def evaluated(row: str) -> float:
        return read.request("reads", "Evaluations", row)

    loaded = _column(read, "fleet", "A member under load", "CPU µs", _MICRO)
    few, many = loaded(f"usage of {FEW} counts"), loaded(f"usage of {MANY} counts, differing targets")
    count = max(0.0, many - few) / (MANY - FEW)
    # What it takes a member of a fleet more, since Redis is asked before it answers.
    checked = max(0.0, loaded("all evaluations, new targets") - evaluated("100 flags, new targets"))
    connections = _column(read, "connections", "Connections", "CPU µs", _MICRO)
    kilobytes = _column(read, "connections", "Connections", "kB", _KILO)
    zipped = _column(read, "connections", "Bytes", "gzip", 1)
    process, environment, flag = _memory(read)
    streams = f"One change to {_CROWD:,} streams"
    return Units(
        poll=_curve(lambda size: read.request("reads", f"Flags, {size}", "first time")),
        groups=read.request("reads", "One flag, target groups", "target groups, rules=v2, polled"),
        flag=loaded("one flag"),
        evaluations=_curve(lambda size: evaluated(f"{size} flags, new targets") + checked),
        evaluation=evaluated(f"{_RULED}, one of them, new targets") + checked,
        auth=loaded("authentication, new targets"),
        post=max(0.0, few - FEW * count),
        count=count,
        connection=max(0.0, connections("request, new connection") - connections("request, connection kept")),
        preflight=connections("preflight of a browser"),
        stream=connections("stream opened"),
        stream_of_many=connections("stream opened, with all others"),
        handshake=max(0.0, connections("stream opened, TLS") - connections("stream opened")),
        event=read.figure("streams", streams, _OURS, "CPU ms") / 1e3 / _CROWD,
        heartbeat=connections("heartbeat"),
        stream_bytes=read.figure("streams", streams, _OURS, "kB/stream") * _KILO,
        connection_bytes=max(0.0, kilobytes("request, connection kept")),
        tls_bytes=max(0.0, kilobytes("stream opened, TLS") - kilobytes("stream opened")),
        process_bytes=process,
        environment_bytes=environment,
        flag_bytes=flag,
        body=_curve(lambda size: zipped(f"flags, {size}")),
        groups_body=zipped("target groups"),
        flag_body=zipped("one flag"),
        evaluations_body=_curve(lambda size: zipped(f"evaluations, {size}")),
        evaluation_body=zipped("one evaluation"),
        event_body=read.figure("connections", "Bytes", "event", "bytes"),
        takeover=read.figure("fleet", "Take-over", "leader killed", "s"),
        ready=Curve(
            tuple(
                (float(e * f), read.figure("startup", _STARTED, f"{e:,} x {f} flags", "ready s"))
                for e, f in ((1, 10), (100, 200))
            )
        ),
        redis=_redis(read),
    )


def _curve(figure: Callable[[int], float]) -> Curve:
    # More never counts as less: a short body may be larger than a longer one that is compressed.
    costs = itertools.accumulate(map(figure, _SIZES), max)
    return Curve(tuple(zip(map(float, _SIZES), costs, strict=True)))


def _column(read: _Reader, benchmark: str, table: str, column: str, scale: float) -> Callable[[str], float]:
    return lambda row: read.figure(benchmark, table, row, column) * scale


def _memory(read: _Reader) -> tuple[float, float, float]:
    """Bytes of a process, of an environment, of a flag: from the memory of three sizes."""
    sizes = ((1, 10), (100, 200), (1000, 30))
    held = [
        read.figure("startup", _STARTED, f"{environments:,} x {flags} flags", "memory MB") * _MEGA
        for environments, flags in sizes
    ]
    # held = process + environments * (environment + flags * flag), three times.
    (e1, f1), (e2, f2), (e3, f3) = ((e, e * f) for e, f in sizes)
    h1, h2, h3 = held
    divisor = (e2 - e1) * (f3 - f1) - (e3 - e1) * (f2 - f1)
    environment = ((h2 - h1) * (f3 - f1) - (h3 - h1) * (f2 - f1)) / divisor
    flag = ((e2 - e1) * (h3 - h1) - (e3 - e1) * (h2 - h1)) / divisor
    environment, flag = max(0.0, environment), max(0.0, flag)
    return max(0.0, h1 - e1 * environment - f1 * flag), environment, flag


def _redis(read: _Reader) -> RedisUnits:
    # An idle Redis still does its own housekeeping.
    nothing = read.asked("a second of 0 members, 1 environment")
    alone = read.asked("a second of 1 member, 1 environment") - nothing
    leading = read.asked(f"a second of 1 member, {ENVIRONMENTS} environments") - nothing
    both = read.asked(f"a second of 2 members, {ENVIRONMENTS} environments") - nothing
    led = (leading - alone) * (1 / (ENVIRONMENTS - 1))
    member = alone - led
    one, two = (read.asked(f"a change, {members}") for members in ("1 member", "2 members"))
    single, several = (
        read.asked(f"usage of {counts} handed on and sent") for counts in ("1 count", f"{COUNTS} counts")
    )
    count = (several - single) * (1 / (COUNTS - 1))
    return RedisUnits(
        member=member,
        led=led,
        followed=(both - leading - member) * (1 / ENVIRONMENTS),
        change=one,
        told=two - one,
        fetch=read.asked("a flag fetched"),
        evaluation=read.shared("all evaluations, new targets", "evaluations of a known target"),
        auth=read.shared("authentication, new targets", "authentication of a new target"),
        post=read.asked("usage of 1 count handed on") - count,
        count=count,
        flag_bytes=read.figure("fleet", "What Redis holds", "flag", "bytes"),
        target_bytes=read.figure("fleet", "What Redis holds", "target", "bytes"),
    )
