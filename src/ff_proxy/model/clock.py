"""Time as something that is handed in, so that tests own it."""

from typing import Protocol


class Clock(Protocol):
    """Two readings, ``wall`` for people and the wire and ``monotonic`` for measuring, and a way to wait."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...


def milliseconds(clock: Clock) -> int:
    """The wall-clock time in whole milliseconds since the epoch."""
    return int(clock.wall() * 1000)
