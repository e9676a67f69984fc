"""The event loop of production, and how signals end what runs on it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import TypeVar

import uvloop

from ff_proxy.errors import ExitCode
from ff_proxy.runtime.gc_tuning import tune_gc
from ff_proxy.runtime.signals import Stop, stop_on_signals

_Result = TypeVar("_Result")


def run(main: Coroutine[object, object, _Result]) -> _Result:
    """Run ``main`` to its end on uvloop, with short pauses."""
    with tune_gc(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def run_until_told(
    main: Callable[[Stop], Coroutine[object, object, ExitCode]],
    *,
    unfinished: ExitCode = ExitCode.OK,
    listen: Callable[[], AbstractContextManager[Stop]] = stop_on_signals,
) -> ExitCode:
    """Run ``main`` on uvloop with signals being heard from its beginning to its end.

    A signal cancels it, and a second one what it still does then, unless it has taken over: a start may
    take for ever, such as one that waits for a store. ``unfinished`` is the exit code if it was cancelled.
    ``listen`` hears something else than signals.
    """
    return run(_watched(main, unfinished, listen))


async def _watched(
    main: Callable[[Stop], Coroutine[object, object, ExitCode]],
    unfinished: ExitCode,
    listen: Callable[[], AbstractContextManager[Stop]],
) -> ExitCode:
    with listen() as stop:
        working = asyncio.create_task(main(stop))
        for signalled in (stop.asked, stop.at_once):
            waiting = asyncio.create_task(signalled.wait())
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not stop.taken_over:
                working.cancel()
        try:
            return await working
        except asyncio.CancelledError:
            return unfinished
