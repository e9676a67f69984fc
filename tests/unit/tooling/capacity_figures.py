"""Results with typed figures, about as a small machine gives them, to test the capacity model with."""

from collections.abc import Mapping
from typing import Final

from bench.capacity.measured import Wanted, read_units
from bench.common.figures import Figure
from bench.common.results import Column, Machine, Outcome, Report, Row, Table

_FLAT: Final[dict[str, dict[tuple[str, str, str], float]]] = {
    "reads": {
        ("Flags, 10", "first time", "per CPU second"): 120_000,
        ("Flags, 100", "first time", "per CPU second"): 65_000,
        ("Flags, 1000", "first time", "per CPU second"): 9_000,
        ("One flag, target groups", "target groups, rules=v2, polled", "per CPU second"): 90_000,
        ("Evaluations", "10 flags, new targets", "per CPU second"): 14_000,
        ("Evaluations", "100 flags, new targets", "per CPU second"): 7_000,
        ("Evaluations", "1000 flags, new targets", "per CPU second"): 900,
        ("Evaluations", "100 flags, 5 rules each, one of them, new targets", "per CPU second"): 15_000,
    },
    "streams": {
        ("One change to 10,000 streams", "ff-proxy", "CPU ms"): 70,
        ("One change to 10,000 streams", "ff-proxy", "kB/stream"): 1.8,
    },
    "startup": {
        ("Start from SQLite", "1 x 10 flags", "memory MB"): 54,
        ("Start from SQLite", "100 x 200 flags", "memory MB"): 108,
        ("Start from SQLite", "1,000 x 30 flags", "memory MB"): 179,
        ("Start from SQLite", "1 x 10 flags", "ready s"): 0.33,
        ("Start from SQLite", "100 x 200 flags", "ready s"): 0.4,
    },
    "connections": {
        ("Connections", "request, connection kept", "CPU µs"): 6,
        ("Connections", "request, new connection", "CPU µs"): 34,
        ("Connections", "preflight of a browser", "CPU µs"): 60,
        ("Connections", "stream opened", "CPU µs"): 61,
        ("Connections", "stream opened, with all others", "CPU µs"): 40,
        ("Connections", "stream opened, TLS", "CPU µs"): 480,
        ("Connections", "heartbeat", "CPU µs"): 8.8,
        ("Connections", "stream opened", "kB"): 1.3,
        ("Connections", "request, connection kept", "kB"): 3,
        ("Connections", "stream opened, TLS", "kB"): 44,
        ("Bytes", "flags, 10", "gzip"): 1_100,
        ("Bytes", "flags, 100", "gzip"): 6_000,
        ("Bytes", "flags, 1000", "gzip"): 54_000,
        ("Bytes", "evaluations, 10", "gzip"): 810,
        ("Bytes", "evaluations, 100", "gzip"): 610,
        ("Bytes", "evaluations, 1000", "gzip"): 4_300,
        ("Bytes", "target groups", "gzip"): 3_200,
        ("Bytes", "one flag", "gzip"): 430,
        ("Bytes", "one evaluation", "gzip"): 92,
        ("Bytes", "event", "bytes"): 93,
    },
    "fleet": {
        ("A member under load", "one flag", "CPU µs"): 80,
        ("A member under load", "all evaluations, new targets", "CPU µs"): 250,
        ("A member under load", "authentication, new targets", "CPU µs"): 400,
        ("A member under load", "all evaluations, new targets", "commands of Redis"): 1.1,
        ("A member under load", "all evaluations, new targets", "CPU µs of Redis"): 2.6,
        ("A member under load", "authentication, new targets", "commands of Redis"): 19,
        ("A member under load", "authentication, new targets", "CPU µs of Redis"): 105,
        ("A member under load", "usage of 3 counts", "CPU µs"): 40,
        ("A member under load", "usage of 64 counts, differing targets", "CPU µs"): 650,
        ("Take-over", "leader killed", "s"): 6.0,
        ("What Redis holds", "flag", "bytes"): 2_300,
        ("What Redis holds", "target", "bytes"): 420,
    },
}
_ASKED: Final = {
    "a second of 0 members, 1 environment": (0, 0, 0, 1_000),
    "a second of 1 member, 1 environment": (5, 260, 50, 1_400),
    "a second of 1 member, 20 environments": (37, 2_900, 580, 2_000),
    "a second of 2 members, 20 environments": (85, 8_000, 1_000, 2_900),
    "a change, 1 member": (12, 2_700, 180, 210),
    "a change, 2 members": (16, 3_000, 2_000, 265),
    "a flag fetched": (1, 110, 40, 25),
    "evaluations of a known target": (2, 190, 150, 42),
    "authentication of a new target": (25, 1_400, 210, 185),
    "usage of 1 count handed on": (15, 1_000, 100, 150),
    "usage of 1 count handed on and sent": (25, 2_200, 450, 400),
    "usage of 200 counts handed on and sent": (1_020, 74_000, 72_000, 1_850),
}


def figures() -> dict[Wanted, float]:
    """Every figure that the model takes, by where it stands."""
    found = {
        Wanted(benchmark, *place): float(value)
        for benchmark, values in _FLAT.items()
        for place, value in values.items()
    }
    columns = ("commands", "bytes in", "bytes out", "CPU µs")
    for row, values in _ASKED.items():
        for column, value in zip(columns, values, strict=True):
            found[Wanted("fleet", "What is asked of Redis", row, column)] = float(value)
    return found


def report(held: Mapping[Wanted, float], *, quick: bool = False) -> Report:
    """A report with these figures and no others."""
    outcomes = []
    for benchmark in dict.fromkeys(place.benchmark for place in held):
        own = {place: value for place, value in held.items() if place.benchmark == benchmark}
        titles = dict.fromkeys(place.table for place in own)
        tables = [_table(title, {p: v for p, v in own.items() if p.table == title}) for title in titles]
        outcomes.append(Outcome(benchmark, 1.0, tuple(tables)))
    machine = Machine(2, "a processor", 8.0, "Linux", {"python": "3.11"})
    return Report("2026-01-02T03:04Z", "0123abc", quick, machine, tuple(outcomes))


def _table(title: str, held: Mapping[Wanted, float]) -> Table:
    columns = list(dict.fromkeys(place.column for place in held))
    rows = []
    for label in dict.fromkeys(place.row for place in held):
        values = {place.column: value for place, value in held.items() if place.row == label}
        rows.append(Row(label, tuple(Figure.of([values[c]]) if c in values else None for c in columns)))
    return Table(title, "", tuple(Column(name) for name in columns), tuple(rows))


UNITS: Final = read_units(report(figures()))
