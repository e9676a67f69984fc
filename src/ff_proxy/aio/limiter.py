"""A concurrency limit that hanging tasks cannot use up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final

from ff_proxy.model.clock import Clock


@final
class PatientLimiter:
    """A semaphore whose slots expire, so that a task that hangs does not block the others.

    Args:
        limit: number of slots.
        patience: seconds after which a slot is freed, even if its holder is still running.
        clock: time.
    """

    def __init__(self, limit: int, patience: float, clock: Clock) -> None:
        self._places = asyncio.Semaphore(limit)
        self._patience = patience
        self._clock = clock

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it, for at most ``patience`` seconds."""
        await self._places.acquire()
        expiry = asyncio.ensure_future(self._clock.sleep(self._patience))
        expiry.add_done_callback(lambda _: self._places.release())
        try:
            yield
        finally:
            expiry.cancel()
