"""Schedules resyncs for later: SDKs that poll after losing their stream will not need one by then."""

import heapq
import random
from collections.abc import Iterator
from itertools import count
from typing import Final, final

from ff_proxy.streams.stream import Stream


@final
class ResyncSchedule:
    """Resyncs each stream after a random delay, so that a fleet of SDKs does not fetch all at once.

    Args:
        earliest: shortest delay in seconds.
        latest: longest delay in seconds.
        random: chooses the delay.
    """

    def __init__(self, earliest: float, latest: float, random: random.Random) -> None:
        self._earliest: Final = earliest
        self._latest: Final = latest
        self._random: Final = random
        self._order: Final = count()
        self._planned: list[tuple[float, int, Stream]] = []

    def add(self, stream: Stream, now: float) -> None:
        """Schedule ``stream``; ``now`` in monotonic seconds."""
        at = now + self._random.uniform(self._earliest, self._latest)
        heapq.heappush(self._planned, (at, next(self._order), stream))

    def due(self, now: float) -> Iterator[Stream]:
        """Remove and yield the open streams that are due."""
        while self._planned and self._planned[0][0] <= now:
            stream = heapq.heappop(self._planned)[2]
            if not stream.ending:
                yield stream
