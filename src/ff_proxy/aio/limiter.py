"""A bound on how many do something at the same time, which nobody who hangs can use up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final

from ff_proxy.model.clock import Clock


@final
class PatientLimiter:
    """Bounds how many do something at the same time, but lets nobody who hangs hold up the others.

    Args:
        limit: how many may hold a place.
        patience: seconds after which a place is given to the next one, whether its holder is done or not.
        clock: measures them.
    """

    def __init__(self, limit: int, patience: float, clock: Clock) -> None:
        self._places = asyncio.Semaphore(limit)
        self._patience = patience
        self._clock = clock

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it, for ``patience`` seconds at most."""
        await self._places.acquire()
        expiry = asyncio.ensure_future(self._clock.sleep(self._patience))
        expiry.add_done_callback(lambda _: self._places.release())
        try:
            yield
        finally:
            expiry.cancel()
