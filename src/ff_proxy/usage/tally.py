"""Sums of the usage that Harness has accepted from this process, for the status page."""

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ff_proxy.bounded import ENTRY_OVERHEAD, BoundedMap
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import MAX_COUNT, SentUsage, UsageCount
from ff_proxy.wire.usage import evaluated

STEP_SECONDS: Final = 300.0
_STEPS: Final = 12
# A key of three texts, and 12 numbers with their total.
_RECORDS_BYTES: Final = 400

_Key = tuple[EnvironmentId, str, str]


class UsageTally:
    """Adds up accepted usage by environment, flag and variation, without targets.

    Args:
        clock: time.
        budget: bytes; beyond that, the entry that was not counted for longest is dropped.
        dropped: counts dropped entries.

    Attributes:
        since: when counting began, in seconds since the epoch.
    """

    def __init__(self, clock: Clock, budget: int, dropped: Callable[[int], object]) -> None:
        self.since: Final = clock.wall()
        self._clock = clock
        self._dropped = dropped
        self._complete = True
        self._sums: BoundedMap[_Key, _Sum] = BoundedMap(budget, _cost, self._forget)

    @property
    def complete(self) -> bool:
        """Whether no entry was dropped."""
        return self._complete

    def add(self, counts: Iterable[UsageCount]) -> None:
        """Harness has accepted ``counts``."""
        step = self._step()
        for one in counts:
            flag, variation = evaluated(one.key)
            key = (one.key.environment, flag, variation)
            known = self._sums.get(key)
            if known is None:
                known = _Sum()
                self._sums.put(key, known)
            known.add(one.count, step)

    def of(self, environment: EnvironmentId) -> Sequence[SentUsage]:
        """The environment's usage, in no order."""
        step = self._step()
        return [
            SentUsage(flag, variation, one.last_hour(step), one.total)
            for (its, flag, variation), one in self._sums.items()
            if its == environment
        ]

    def _step(self) -> int:
        return int(self._clock.monotonic() // STEP_SECONDS)

    def _forget(self, entries: int) -> None:
        self._complete = False
        self._dropped(entries)


class _Sum:
    """Counts of the last hour in steps, and the total."""

    __slots__ = ("_newest", "_steps", "total")

    def __init__(self) -> None:
        self.total = 0
        self._newest = 0
        self._steps = array("Q", bytes(8 * _STEPS))

    def add(self, count: int, step: int) -> None:
        self._go_to(step)
        place = step % _STEPS
        self.total = min(self.total + count, MAX_COUNT)
        self._steps[place] = min(self._steps[place] + count, MAX_COUNT)

    def last_hour(self, step: int) -> int:
        self._go_to(step)
        return sum(self._steps)

    def _go_to(self, step: int) -> None:
        for passed in range(self._newest + 1, min(step, self._newest + _STEPS) + 1):
            self._steps[passed % _STEPS] = 0
        self._newest = max(self._newest, step)


def _cost(key: _Key, _: _Sum) -> int:
    return ENTRY_OVERHEAD + _RECORDS_BYTES + sum(map(sys.getsizeof, key))
