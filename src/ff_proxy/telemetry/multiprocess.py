"""Figures of several processes in one exposition: each writes to files of its own, all of which are summed.

The files stay when a process dies, so that what it counted stays counted, and its successor goes on with
them; a gauge of a process that is gone counts no more.
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
    """Have every figure that this process makes from now on written below ``directory``.

    ``process`` is unlike the names of others that run now, without an underscore. Returns a registry that
    shows the figures of all of them.
    """
    # Left to itself, the library chooses when it is imported, and names a process's files by its id: there
    # would be more of them after every death.
    os.environ[_VARIABLE] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]
    shown = CollectorRegistry()
    shown.register(_Files(directory))
    return shown


def mark_dead(directory: Path, process: str) -> None:
    """The process has ended: its gauges count no more."""
    mark_process_dead(process, str(directory))  # type: ignore[no-untyped-call]


class _Files(Collector):
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        # One that a process is just making has nothing in it yet, not even its own length.
        files = [str(file) for file in self._directory.glob("*.db") if _size(file)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
