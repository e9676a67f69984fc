"""A concurrency limit that hanging tasks cannot use up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, final

from ff_proxy.model.clock import Clock

# Enough for most requests; a task that hangs must not block the others for long.
_SLOT_SECONDS: Final = 2.0


@final
class PatientLimiter:
    """A semaphore whose slots expire, so that a task that hangs does not block the others.

    Args:
        limit: number of slots; each is freed after two seconds, even if its holder is still running.
        clock: time.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self._places = asyncio.Semaphore(limit)
        self._clock = clock

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        await self._places.acquire()
        expiry = asyncio.ensure_future(self._clock.sleep(_SLOT_SECONDS))
        expiry.add_done_callback(lambda _: self._places.release())
        try:
            yield
        finally:
            expiry.cancel()
