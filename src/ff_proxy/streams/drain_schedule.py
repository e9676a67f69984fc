"""Spreads the ends of streams at shutdown, so that SDKs reconnect gradually (spec/behaviour#shutdown)."""

import heapq
import random
from collections.abc import Collection, Iterator
from itertools import count
from typing import Final

from ff_proxy.streams.stream import Stream


class DrainSchedule:
    """Plans the end of each stream between ``start`` and ``end`` (monotonic seconds).

    Streams open at the start end in random order at even intervals, each delayed by up to one interval.
    """

    def __init__(self, streams: Collection[Stream], start: float, end: float, jitter: random.Random) -> None:
        self.end: Final = end
        self._jitter: Final = jitter
        self._order: Final = count()
        shuffled = jitter.sample(list(streams), len(streams))
        space = (end - start) / max(1, len(shuffled))
        # Sorted ascending, so it is a valid heap.
        self._planned = [
            (start + (index + jitter.random()) * space, next(self._order), stream)
            for index, stream in enumerate(shuffled)
        ]

    def add(self, stream: Stream) -> None:
        """Add a stream opened during the drain: it ends together with the last one.

        Ending it earlier would make some SDKs reconnect in a loop (spec/sdk-wire#trap-52).
        """
        heapq.heappush(self._planned, (self.end, next(self._order), stream))

    def due(self, now: float) -> Iterator[Stream]:
        """Remove and yield the streams that are due; from ``end`` on, all of them."""
        while self._planned and self._planned[0][0] <= now:
            yield heapq.heappop(self._planned)[2]
