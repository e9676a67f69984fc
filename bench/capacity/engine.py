"""The simulations' machinery: what happens in order of time, and work that is done in the order it comes."""

import heapq
import itertools
from collections.abc import Callable
from typing import Any


class Engine:
    """Calls things at their times, in seconds; at the same time, what was planned first is first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def at(self, time: float, do: Callable[..., object], *arguments: Any) -> None:
        """Have something done at ``time``, or now if that is over."""
        heapq.heappush(self._planned, (max(time, self.now), next(self._order), do, arguments))

    def run(self, until: float) -> None:
        """Go on until nothing is planned any more, or nothing before ``until``."""
        while self._planned and self._planned[0][0] <= until:
            self.now, _, do, arguments = heapq.heappop(self._planned)
            do(*arguments)


class Processor:
    """Does one thing after another; ``speed`` is what it gets done in a second, in seconds of one core.

    Attributes:
        longest: the most seconds that anything has waited for its turn.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self.longest = 0.0
        self.done = 0.0
        self._free_at = 0.0
        self._busy: dict[int, float] = {}

    def serve(self, now: float, work: float) -> float:
        """The time at which ``work`` (seconds of one core) that comes now is done."""
        begin = max(now, self._free_at)
        self.longest = max(self.longest, begin - now)
        self.done += work
        end = self._free_at = begin + work / self.speed
        second = int(begin)
        while begin < end:
            part = min(end, second + 1.0)
            self._busy[second] = self._busy.get(second, 0.0) + part - begin
            begin = part
            second += 1
        return end

    @property
    def peak(self) -> float:
        """The share of its busiest second in which it worked."""
        return min(1.0, max(self._busy.values(), default=0.0))
