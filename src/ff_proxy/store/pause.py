"""A way to wait that asyncio leaves out: until either of two things."""

import asyncio

from ff_proxy.model.clock import Clock


async def sleep_unless(event: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Wait until ``seconds`` are over or ``event`` is set, whichever is first."""
    waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
