"""A way to wait that asyncio leaves out: in spite of a cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

_T = TypeVar("_T")


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
        if not running.cancelled():
            running.exception()  # seen: the cancellation is what the caller has to hear of
        raise
