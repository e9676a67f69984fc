"""The event loop of production, uvloop where it is installed, and how signals end what runs on it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Final, TypeVar

from ff_proxy.errors import ExitCode
from ff_proxy.runtime.gc_tuning import tune_gc
from ff_proxy.runtime.last_resort import LastResort
from ff_proxy.runtime.signals import Stop, stop_on_signals

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

IS_UVLOOP: Final = new_event_loop is not asyncio.new_event_loop
"""Whether the faster event loop is installed; there is none for some systems."""

_Result = TypeVar("_Result")

# How long a cancelled start may take, and everything after a second signal.
_START_SECONDS: Final = 5.0
_HURRY_SECONDS: Final = 3.0


def run(main: Coroutine[object, object, _Result]) -> _Result:
    """Run ``main`` to its end, with the garbage collector tuned for short pauses."""
    with tune_gc(), asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def run_until_stopped(
    main: Callable[[Stop], Coroutine[object, object, ExitCode]],
    *,
    unfinished: ExitCode = ExitCode.OK,
    listen: Callable[[], AbstractContextManager[Stop]] = stop_on_signals,
    at_end: Callable[[], object] = lambda: None,
) -> ExitCode:
    """Run ``main``, and handle signals from its beginning to its end.

    A signal cancels it, and a second one cancels its clean-up, unless it shuts down by itself: a start may
    wait for a store for ever. ``unfinished`` is the exit code if it was cancelled. ``listen`` replaces
    signals by another source of stop requests. The process ends in time whatever hangs; ``at_end`` is called
    in any case.
    """
    last_resort = LastResort(at_end)
    try:
        return run(_watched(main, unfinished, listen, last_resort))
    finally:
        last_resort.disarm()
        at_end()


async def _watched(
    main: Callable[[Stop], Coroutine[object, object, ExitCode]],
    unfinished: ExitCode,
    listen: Callable[[], AbstractContextManager[Stop]],
    last_resort: LastResort,
) -> ExitCode:
    with listen() as stop:
        stop.arm = last_resort.arm
        working = asyncio.create_task(main(stop))
        for signalled, patience in ((stop.requested, _START_SECONDS), (stop.at_once, _HURRY_SECONDS)):
            waiting = asyncio.create_task(signalled.wait())
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if signalled.is_set() and not (stop.taken_over and signalled is stop.requested):
                stop.arm(patience)
            if not stop.taken_over:
                working.cancel()
        try:
            return await working
        except asyncio.CancelledError:
            return unfinished
