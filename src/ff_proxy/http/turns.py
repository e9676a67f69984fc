"""Sharing the event loop among connections: a few milliseconds of answers, then everybody else's turn."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final, final

_SECONDS: Final = 0.01


@final
class Turns:
    """Connections that wait for a turn, first come, first served.

    However many there are, all of them together hold the loop for little more than ``_SECONDS``: then it sees
    to timers, streams and new requests before it goes on.
    """

    def __init__(self) -> None:
        self._waiting: Final[deque[Callable[[], None]]] = deque()
        self._scheduled = False

    @property
    def busy(self) -> bool:
        """Whether somebody waits: whoever comes with much to ask has to as well."""
        return self._scheduled

    def wait(self, take: Callable[[], None]) -> None:
        """Call ``take`` when its turn has come; it answers a little, and may come again."""
        self._waiting.append(take)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        until = perf_counter() + _SECONDS
        waiting = self._waiting
        try:
            # Whoever comes again meanwhile is behind all others.
            for _ in range(len(waiting)):
                waiting.popleft()()
                if perf_counter() >= until:
                    break
        finally:
            if waiting:
                self._schedule()
