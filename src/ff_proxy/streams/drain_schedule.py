"""When each stream ends at shutdown: spread out, so SDKs reconnect gradually (spec/behaviour#shutdown)."""

import heapq
import random
from collections.abc import Collection, Iterator
from itertools import count
from typing import Final

from ff_proxy.streams.stream import Stream


class DrainSchedule:
    """The streams that are to end between ``start`` and ``end`` (monotonic seconds).

    Those open at the start are spaced evenly, in random order, each off its mark by less than one space.
    """

    def __init__(self, streams: Collection[Stream], start: float, end: float, jitter: random.Random) -> None:
        self.end: Final = end
        self._jitter: Final = jitter
        self._order: Final = count()
        shuffled = jitter.sample(list(streams), len(streams))
        space = (end - start) / max(1, len(shuffled))
        # Ascending, and with that a heap already.
        self._planned = [
            (start + (index + jitter.random()) * space, next(self._order), stream)
            for index, stream in enumerate(shuffled)
        ]

    def add(self, stream: Stream) -> None:
        """A stream was opened meanwhile: it ends with the last of the others.

        Some SDKs come back at once, again and again (spec/sdk-wire#trap-52).
        """
        heapq.heappush(self._planned, (self.end, next(self._order), stream))

    def due(self, now: float) -> Iterator[Stream]:
        """Take out the streams whose time has come: all of them from ``end`` on."""
        while self._planned and self._planned[0][0] <= now:
            yield heapq.heappop(self._planned)[2]
