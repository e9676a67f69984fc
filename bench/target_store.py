"""One store with many targets in its own process, for ``bench.targets``.

    python -m bench.target_store KIND PLACE COUNT TIMES

Stores COUNT targets a thousand at a time, then looks TIMES of them up and stores TIMES new ones, one after
the other, and prints what that took as JSON.
"""

import asyncio
import itertools
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from bench.common.figures import percentile
from bench.common.processes import this_process
from bench.common.stores import store
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target

_ENVIRONMENT = EnvironmentId("9a1f4d0c-6c0e-4a54-9a0b-000000000002")
_BATCH = 1000
_COUNTRIES = ("DE", "FR", "US", "BR", "JP", "IN", "KE", "AU")


class Measured(msgspec.Struct, frozen=True):
    """Seconds of storing all, megabytes that the process grew by, milliseconds of a look-up and of a put."""

    seconds: float
    megabytes: float
    look_up: tuple[float, float]
    put: tuple[float, float]


def target(number: int) -> Target:
    """About 150 bytes as JSON, each different."""
    attributes = {
        "email": f"user-{number}@example.com",
        "plan": "team",
        "country": _COUNTRIES[number % len(_COUNTRIES)],
    }
    return Target(f"user-{number}", f"User {number}", attributes=attributes)


async def measure(kind: str, place: str, count: int, times: int) -> Measured:
    """What it took."""
    process = this_process()
    async with store(kind, place) as held:
        before = process.resident()
        begun = time.perf_counter()
        for first in range(0, count, _BATCH):
            numbers = range(first, min(first + _BATCH, count))
            await held.targets.put_many(_ENVIRONMENT, [target(number) for number in numbers])
        seconds = time.perf_counter() - begun
        grown = (process.resident() - before) / 1e3

        async def look_up(number: int) -> None:
            found = await held.targets.get(_ENVIRONMENT, f"user-{number}")
            assert found is not None, number

        async def put(number: int) -> None:
            await held.targets.put(_ENVIRONMENT, target(number))

        chosen = random.Random(1).sample(range(count), min(times, count))
        found = await _timed(look_up, chosen)
        new = await _timed(put, itertools.islice(itertools.count(count), times))
    return Measured(seconds, grown, found, new)


async def _timed(what: Callable[[int], Awaitable[None]], numbers: Iterable[int]) -> tuple[float, float]:
    """Median and p99 in milliseconds."""
    taken = []
    for number in numbers:
        begun = time.perf_counter()
        await what(number)
        taken.append((time.perf_counter() - begun) * 1000)
    return percentile(taken, 0.5), percentile(taken, 0.99)


def main() -> None:
    """Measure and print."""
    kind, place, count, times = sys.argv[1:]
    given = asyncio.run(measure(kind, place, int(count), int(times)))
    sys.stdout.write(msgspec.json.encode(given).decode())


if __name__ == "__main__":
    main()
