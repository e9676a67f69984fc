"""Streams that are to be told everything, later: those who poll after a cut need nothing by then."""

import heapq
import random
from collections.abc import Iterator
from itertools import count
from typing import Final, final

from ff_proxy.streams.stream import Stream


@final
class ResyncSchedule:
    """When each stream's turn comes: at random, so that a fleet of SDKs does not fetch everything at once.

    Args:
        earliest: seconds after a stream was added, at least.
        latest: the same, at most.
        random: spreads them in between.
    """

    def __init__(self, earliest: float, latest: float, random: random.Random) -> None:
        self._earliest: Final = earliest
        self._latest: Final = latest
        self._random: Final = random
        self._order: Final = count()
        self._planned: list[tuple[float, int, Stream]] = []

    def add(self, stream: Stream, now: float) -> None:
        """Plan ``stream``; ``now`` in monotonic seconds."""
        at = now + self._random.uniform(self._earliest, self._latest)
        heapq.heappush(self._planned, (at, next(self._order), stream))

    def due(self, now: float) -> Iterator[Stream]:
        """Take out the open streams whose turn has come."""
        while self._planned and self._planned[0][0] <= now:
            stream = heapq.heappop(self._planned)[2]
            if not stream.ending:
                yield stream
