"""Signs that Redis has lost writes, after which leaders fetch everything from Harness again."""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId

# Signs within this time are handled together.
_PAUSE_SECONDS: Final = 1.0

Refetch = Callable[[Collection[EnvironmentId] | None], object]


class LostWrites:
    """Collects environments whose last writes may be lost."""

    def __init__(self) -> None:
        self._some: set[EnvironmentId] = set()
        self._all = False
        self._noted = asyncio.Event()

    def note(self, environment: EnvironmentId) -> None:
        """Redis has another state of the environment than was last written or read."""
        self._some.add(environment)
        self._noted.set()

    def note_all(self) -> None:
        """A connection was lost: another Redis, which may have less, may answer now."""
        self._all = True
        self._noted.set()

    async def listen(self, refetch: Refetch, clock: Clock) -> None:
        """Call ``refetch`` with the environments concerned, or ``None`` for all, until cancelled."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            found = None if self._all else frozenset(self._some)
            self._some.clear()
            self._all = False
            refetch(found)
            await clock.sleep(_PAUSE_SECONDS)
