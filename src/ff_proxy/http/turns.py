"""Shares the event loop among busy connections, so that timers, streams and new requests are not delayed."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final, final

_SECONDS: Final = 0.01


@final
class Turns:
    """A queue of connections that wait for their turn, first come, first served.

    All of them together hold the event loop for little more than ``_SECONDS`` at a time.

    Attributes:
        busy: connections are waiting; further busy connections must queue too.
    """

    def __init__(self) -> None:
        self._waiting: Final[deque[Callable[[], None]]] = deque()
        self.busy = False

    def wait(self, take: Callable[[], None]) -> None:
        """Call ``take`` when its turn comes; it does a little work and may queue again."""
        self._waiting.append(take)
        self._schedule()

    def _schedule(self) -> None:
        if not self.busy:
            self.busy = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self.busy = False
        until = perf_counter() + _SECONDS
        waiting = self._waiting
        try:
            # Connections that queue again during this loop run in the next one.
            for _ in range(len(waiting)):
                waiting.popleft()()
                if perf_counter() >= until:
                    break
        finally:
            if waiting:
                self._schedule()
