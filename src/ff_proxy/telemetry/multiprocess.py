"""Metrics of several processes in one exposition: each writes its own files, which are summed.

The files remain when a process dies, so counters are kept and its successor continues them; gauges of dead
processes are dropped.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(directory: Path, process: str) -> CollectorRegistry:
    """Write every metric that this process creates from now on below ``directory``.

    ``process`` is a unique name without an underscore. Returns a registry with the metrics of all processes.
    """
    # By default the library decides on import, and names files by process id: every restart would add files.
    os.environ[_VARIABLE] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]
    shown = CollectorRegistry()
    shown.register(_Files(directory))
    return shown


def mark_dead(directory: Path, process: str) -> None:
    """Drop the gauges of a process that has ended."""
    mark_process_dead(process, str(directory))  # type: ignore[no-untyped-call]


class _Files(Collector):
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        # A file that is just being created is still empty.
        files = [str(file) for file in self._directory.glob("*.db") if _size(file)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
