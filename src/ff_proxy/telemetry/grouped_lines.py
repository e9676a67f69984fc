"""Grouping log lines: what happens to many environments within a second is one line, and lines get rarer."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from ff_proxy.model.clock import Clock

_TICK: Final = 0.5
_NAMED: Final = 3
# Seconds that the first line of a kind waits for others to group.
_WINDOW: Final = 1.0
# Seconds between two lines of a kind; the series restarts after a quiet period.
_STEPS: Final = (0.0, 10.0, 30.0, 60.0)
_CALM: Final = 300.0


class Lines(Protocol):
    """Lines that wait to be grouped."""

    def flush(self, now: float, *, at_end: bool = False) -> bool:
        """Write what is due by ``now``, or everything ``at_end``; returns whether something still waits."""
        ...


class GroupedLines:
    """The service that writes due lines. While it does not run, lines are written at once."""

    name = "grouped log lines"

    def __init__(self, clock: Clock) -> None:
        self.ready = asyncio.Event()
        self._clock = clock
        self._members: list[Lines] = []
        self._window = 0.0
        self._something = asyncio.Event()

    def join(self, member: Lines) -> None:
        """Have ``member`` flushed."""
        self._members.append(member)

    @property
    def window(self) -> float:
        """Seconds that a first line waits."""
        return self._window

    def now(self) -> float:
        """The monotonic second."""
        return self._clock.monotonic()

    def changed(self, member: Lines) -> None:
        """``member`` has a line."""
        if not self._window:
            member.flush(self.now())
        self._something.set()

    async def run(self) -> None:
        """Write due lines until cancelled, then the rest."""
        self._window = _WINDOW
        self.ready.set()
        try:
            while True:
                await self._something.wait()
                await self._clock.sleep(_TICK)
                if not self._flush(at_end=False):
                    self._something.clear()
        finally:
            self._window = 0.0
            self._flush(at_end=True)

    def _flush(self, *, at_end: bool) -> bool:
        now = self.now()
        return sum(member.flush(now, at_end=at_end) for member in self._members) > 0


class Pace:
    """When the next line of one kind may be written: soon at first, then at growing intervals.

    All times are seconds of the monotonic clock.
    """

    __slots__ = ("_due", "_last", "_step")

    def __init__(self) -> None:
        self._due: float | None = None
        self._last = 0.0
        self._step = 0

    def ask(self, now: float, window: float) -> None:
        """Request a line, which may wait ``window`` seconds for others."""
        if self._due is None:
            if now - self._last > _CALM:
                self._step = 0
            self._due = max(now + window, self._last + _STEPS[self._step]) if self._step else now + window

    def due(self, now: float) -> bool:
        """Whether the line is due."""
        return self._due is not None and now >= self._due

    @property
    def waits(self) -> bool:
        """Whether a line is waiting."""
        return self._due is not None

    def skip(self) -> None:
        """Cancel the waiting line."""
        self._due = None

    def said(self, now: float) -> None:
        """A line was written."""
        self._due = None
        self._last = now
        self._step = min(self._step + 1, len(_STEPS) - 1)

    def rests(self, now: float) -> bool:
        """Whether this can be forgotten: no line waits, and a new one would not have to."""
        return self._due is None and now - self._last > _CALM


def named(word: str, names: Collection[str]) -> Mapping[str, object]:
    """Facts about the subjects: one by name, many by their number and the first few names."""
    several = sorted(names)
    if len(several) == 1:
        return {word: several[0]}
    return {f"{word}s": len(several), f"{word}s_such_as": several[:_NAMED]} if several else {}
