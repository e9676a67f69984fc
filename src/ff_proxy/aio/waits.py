"""Waiting for either of two things, and in spite of a cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ff_proxy.model.clock import Clock

_T = TypeVar("_T")


async def sleep_unless(event: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Wait until ``seconds`` are over or ``event`` is set, whichever is first."""
    waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def finish(step: Coroutine[object, object, _T], grace: float) -> _T:
    """Run ``step``; if the caller is cancelled meanwhile, let it end within ``grace`` seconds first.

    The step is cancelled only when the grace is over (or the caller is cancelled again), and has ended
    in any case before the cancellation goes on.
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
