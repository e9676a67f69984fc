"""Waits for an event or a timeout, and lets a step finish despite a cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ff_proxy.model.clock import Clock

_T = TypeVar("_T")


async def sleep_unless(event: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Sleep for ``seconds``, or until ``event`` is set."""
    waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def finish(step: Coroutine[object, object, _T], grace: float) -> _T:
    """Run ``step``; if the caller is cancelled, give it ``grace`` seconds to finish first.

    The step is cancelled when the grace period is over or the caller is cancelled again. It has always ended
    before the cancellation propagates.
    """
    running = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([running], timeout=grace)
        finally:
            running.cancel()
        await asyncio.wait([running])
        retrieve(running)  # the caller gets the cancellation
        raise


def retrieve(done: asyncio.Future[Any]) -> None:
    """Mark the exception of a future as retrieved: the caller may have left, and that is no error."""
    if not done.cancelled():
        done.exception()
