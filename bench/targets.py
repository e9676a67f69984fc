"""A million targets: their size in a process, in a file and in Redis, and access times."""

import subprocess
import sys
from collections.abc import Iterator

import msgspec

from bench.common.figures import Figure
from bench.common.plan import BenchError, Plan
from bench.common.results import Column, Row, Table
from bench.common.stores import MEMORY, kept_stores
from bench.target_store import Measured

_IN_MEMORY = 20_000
_ABOUT = (
    "Targets of about 150 bytes, stored a thousand at a time; then some of them looked up at random, and new"
    " ones stored, one after the other. `memory-budget` bounds how many a process keeps in memory."
)
_COLUMNS = (
    Column("stored in s", 1),
    Column("process grew by MB", 1),
    Column("kept in MB", 1),
    Column("look-up ms", 3),
    Column("p99 ms", 3),
    Column("new one ms", 3),
    Column("p99 ms, new", 3),
)
_WITHIN = 300.0


def measure(plan: Plan) -> Iterator[Table]:
    """The table; raises ``BenchError`` if a store fails."""
    count, times = plan.pick((1_000_000, 5000), (2000, 50))
    few = min(count, _IN_MEMORY)
    rows = [_row(MEMORY, few, _held(MEMORY, "-", few, times), None)]
    for name, opened in kept_stores().items():
        with opened() as kept:
            held = _held(kept.kind, kept.place, count, times)
            rows.append(_row(name, count, held, kept.megabytes()))
    yield Table("Targets", _ABOUT, _COLUMNS, tuple(rows))


def _row(name: str, count: int, held: Measured, megabytes: float | None) -> Row:
    figures = [held.seconds, held.megabytes, megabytes, *held.look_up, *held.put]
    return Row(
        f"{name}, {count:,}", tuple(None if value is None else Figure.of([value]) for value in figures)
    )


def _held(kind: str, place: str, count: int, times: int) -> Measured:
    command = [sys.executable, "-m", "bench.target_store", kind, place, str(count), str(times)]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_WITHIN)
    except subprocess.CalledProcessError as error:
        raise BenchError(f"{kind}: {error.stderr.decode(errors='replace')[-2000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{kind}: {count:,} targets were not stored within {_WITHIN:.0f} s") from error
    return msgspec.json.decode(done.stdout, type=Measured)
