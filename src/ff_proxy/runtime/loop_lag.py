"""Measures how long single pieces of work block the event loop (spec/behaviour#metrics)."""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry

HELD_SECONDS: Final = 0.05
"""Whatever blocks the loop for longer is logged."""

_TICK: Final = 0.02
_WATCH_TICK: Final = 0.01
_WARN_EVERY: Final = 60.0
_FRAMES: Final = 6


class LoopLag:
    """The service that wakes fifty times a second and measures how late it is.

    Args:
        clock: measures and waits.
        telemetry: gets every delay as a metric, and long ones in the log.
        name_holder: have a thread find out what blocks the loop, for a DEBUG line.
    """

    name = "event loop lag"

    def __init__(self, clock: Clock, telemetry: Telemetry, *, name_holder: bool = False) -> None:
        self.ready = asyncio.Event()
        self._clock = clock
        self._lag = telemetry.metrics.loop_lag
        self._held = telemetry.metrics.loop_held
        self._log = telemetry.logger("runtime")
        self._once = telemetry.once("runtime", _WARN_EVERY)
        self._watch = _Watch(clock.monotonic) if name_holder else None

    async def run(self) -> None:
        """Measure until cancelled."""
        self.ready.set()
        if self._watch is not None:
            self._watch.start(threading.get_ident())
        try:
            while True:
                asleep, spent = self._clock.monotonic(), time.thread_time()
                await self._clock.sleep(_TICK)
                self._measured(self._clock.monotonic() - asleep - _TICK, time.thread_time() - spent)
        finally:
            if self._watch is not None:
                self._watch.stop()

    def _measured(self, late: float, spent: float) -> None:
        self._lag.observe(max(0.0, late))
        holder = "" if self._watch is None else self._watch.beat()
        if late <= HELD_SECONDS:
            return
        if spent > HELD_SECONDS:
            self._held.inc()
        # Little processor time: it waited for something, or the machine was busy with other processes.
        seconds, processor = round(late, 3), round(spent, 3)
        self._once.warning(
            "the event loop was held, everybody waited meanwhile",
            seconds=seconds,
            processor_seconds=processor,
        )
        if self._watch is not None:
            self._log.debug("the event loop was held", seconds=seconds, by=holder or "not seen")


class _Watch:
    """A thread that notices when the loop stops beating, and records where the loop's thread is then."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._over = threading.Event()
        self._beat = 0.0
        self._seen = ""

    def start(self, watched: int) -> None:
        """Watch the thread with that number from now on."""
        self._beat = self._now()
        self._over.clear()
        threading.Thread(target=self._look, args=(watched,), name="loop watch", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()

    def beat(self) -> str:
        """Report that the loop turns; returns what was seen since the last beat, innermost call first."""
        self._beat = self._now()
        seen, self._seen = self._seen, ""
        return seen

    def _look(self, watched: int) -> None:
        while not self._over.wait(_WATCH_TICK):
            if self._now() - self._beat > _TICK + HELD_SECONDS / 2:
                frame = sys._current_frames().get(watched)  # noqa: SLF001  (there is no other way)
                calls = traceback.extract_stack(frame)[-_FRAMES:] if frame is not None else []
                # No source lines and no values: only names of functions and files.
                self._seen = " < ".join(
                    f"{one.name} ({one.filename}:{one.lineno})" for one in reversed(calls)
                )
