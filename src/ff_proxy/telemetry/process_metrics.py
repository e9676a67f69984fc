"""The process's use of resources, under the names of Go programs; summed over processes."""

import mmap
import os
import time
from pathlib import Path
from typing import Final

from ff_proxy.posix import open_file_limits
from ff_proxy.telemetry.metrics import Metrics

_SELF: Final = Path("/proc/self")
# Counting ten thousand open files takes a millisecond.
_FILES_EVERY: Final = 10


class ProcessMetrics:
    """A sample (see ``Sampler``). On a system without ``/proc`` only the processor's time is known."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._spent = 0.0
        self._looks = 0
        metrics.process_start.set(_started())
        metrics.process_max_fds.set(open_file_limits()[0])

    def __call__(self) -> None:
        """Sample once."""
        spent = time.process_time()
        self._metrics.process_cpu.inc(max(0.0, spent - self._spent))
        self._spent = spent
        try:
            pages = (_SELF / "statm").read_text().split()
            self._metrics.process_virtual.set(int(pages[0]) * mmap.PAGESIZE)
            self._metrics.process_resident.set(int(pages[1]) * mmap.PAGESIZE)
            if self._looks % _FILES_EVERY == 0:
                self._metrics.process_fds.set(len(os.listdir(_SELF / "fd")))  # noqa: PTH208  (no objects)
        except (OSError, ValueError, IndexError):
            pass  # there are no such files, or they are unreadable
        self._looks += 1


def _started() -> float:
    """The process's start in seconds since the epoch; the current time if unknown."""
    try:
        fields = (_SELF / "stat").read_text().rpartition(")")[2].split()
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time()
