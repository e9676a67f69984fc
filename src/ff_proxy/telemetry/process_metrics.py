"""The process's use of resources, under the names of Go programs; summed over processes."""

import os
import resource
import time
from pathlib import Path
from typing import Final

from ff_proxy.telemetry.metrics import Metrics

_SELF: Final = Path("/proc/self")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = os.sysconf("SC_CLK_TCK")
# Counting ten thousand open files takes a millisecond.
_FILES_EVERY: Final = 10


class ProcessMetrics:
    """A sample (see ``Sampler``). On a system without ``/proc`` only the processor's time is known."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._spent = 0.0
        self._looks = 0
        metrics.process_start.set(_started())
        metrics.process_max_fds.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def __call__(self) -> None:
        """Sample once."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        spent = usage.ru_utime + usage.ru_stime
        self._metrics.process_cpu.inc(max(0.0, spent - self._spent))
        self._spent = spent
        try:
            pages = (_SELF / "statm").read_text().split()
            self._metrics.process_virtual.set(int(pages[0]) * _PAGE)
            self._metrics.process_resident.set(int(pages[1]) * _PAGE)
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
        return boot + int(fields[19]) / _TICK
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time()
