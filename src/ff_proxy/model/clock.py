"""The clock as a dependency, so that tests control time."""

from typing import Protocol


class Clock(Protocol):
    """``wall`` is for people and the wire, ``monotonic`` for measuring."""

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
