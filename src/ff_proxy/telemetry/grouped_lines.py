"""Grouping log lines: what happens to many environments within a second is one line."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from ff_proxy.model.clock import Clock
from ff_proxy.telemetry.pace import WINDOW

_TICK: Final = 0.5
_NAMED: Final = 3


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
        self._window = WINDOW
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


def named(word: str, names: Collection[str]) -> Mapping[str, object]:
    """Facts about the subjects: one by name, many by their number and the first few names."""
    several = sorted(names)
    if len(several) == 1:
        return {word: several[0]}
    return {f"{word}s": len(several), f"{word}s_such_as": several[:_NAMED]} if several else {}
