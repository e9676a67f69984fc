"""A clock that tests own: time passes only when a test says so."""

import asyncio
import heapq
from itertools import count
from typing import Final

_TURNS: Final = 60


class FakeClock:
    """Starts at ``wall`` seconds since the epoch; sleepers wake in the order of their deadlines.

    After each, all others get ``turns`` turns: the length of the longest chain of tasks that wake each other.
    """

    def __init__(self, wall: float = 1_700_000_000.0, turns: int = _TURNS) -> None:
        self._turns = turns
        self._start = wall
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._start + self._now

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until a test has advanced the clock that far."""
        waking = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), waking))
        await waking

    @property
    def sleeping(self) -> int:
        """How many sleepers have not been woken (or cancelled)."""
        return sum(not waking.done() for _, _, waking in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let time pass: every sleeper that is due runs until it waits again."""
        await self.settle(self._turns)
        end = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            deadline, _, waking = heapq.heappop(self._sleepers)
            self._now = max(self._now, deadline)
            if not waking.done():
                waking.set_result(None)
                await self.settle(self._turns)
        self._now = end

    @staticmethod
    async def settle(turns: int = _TURNS) -> None:
        """Let everything run that can run without time passing."""
        for _ in range(turns):
            await asyncio.sleep(0)
