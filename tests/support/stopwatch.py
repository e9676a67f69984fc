"""What a test costs, told apart from what else the machine is doing."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SCHEDULING = Path("/proc/thread-self/schedstat")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds, since some moment in the past or between two of them.

    Attributes:
        wall: that went by.
        cpu: of CPU in this process.
        children: of CPU in processes that it started, and that have ended.
        queued: in which this thread could run and had to wait for a CPU; zero where the system does not say.
    """

    wall: float
    cpu: float
    children: float
    queued: float

    @classmethod
    def now(cls) -> Self:
        """Up to now."""
        times = os.times()
        try:
            queued = int(_SCHEDULING.read_text(encoding="ascii").split()[1]) / 1e9
        except OSError:
            queued = 0.0
        return cls(
            time.perf_counter(), time.process_time(), times.children_user + times.children_system, queued
        )

    def since(self, before: "Cost") -> "Cost":
        """What came in between."""
        return Cost(
            self.wall - before.wall,
            self.cpu - before.cpu,
            self.children - before.children,
            self.queued - before.queued,
        )

    def excess(self, limit: float) -> str | None:
        """What is beyond the limit, in words: work, or waiting that is not for a CPU."""
        work = self.cpu + self.children
        if work > limit:
            return f"it works for {work:.1f} s of CPU"
        idle = self.wall - self.cpu - self.queued
        # While a child waits for a CPU, its parent waits for the child: no time of anybody's own.
        if not self.children and idle > limit:
            return f"it waits for {idle:.1f} s"
        return None
