"""When the next log line of one kind may be written: soon at first, then at growing intervals."""

from typing import Final

WINDOW: Final = 1.0
"""Seconds that the first line of a kind waits for others to group."""

# Seconds between two lines of a kind; the series restarts after a quiet period.
_STEPS: Final = (0.0, 10.0, 30.0, 60.0)
_CALM: Final = 300.0


class Pace:
    """The intervals of one kind of line, in seconds of the monotonic clock."""

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
