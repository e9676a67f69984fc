"""Metrics of several processes in one exposition: each writes its own files, which are summed.

The files remain when a process dies, so counters are kept and its successor continues them; gauges of dead
processes are dropped.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Metric, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_ROOM: Final = 256 * 1024


def share_metrics(directory: Path, process: str) -> CollectorRegistry:
    """Write every metric that this process creates from now on below ``directory``.

    ``process`` is a unique name without an underscore. Returns a registry with the metrics of all processes.
    """
    # By default the library decides on import, and names files by process id: every restart would add files.
    os.environ[_VARIABLE] = str(directory)
    values.ValueClass = _Values(directory, process)
    shown = CollectorRegistry()
    shown.register(_Files(directory))
    return shown


def mark_dead(directory: Path, process: str) -> None:
    """Drop the gauges of a process that has ended."""
    mark_process_dead(process, str(directory))  # type: ignore[no-untyped-call]


class _Values:
    """Makes values in the files of a process; in its own memory only, where a file finds no room.

    The library makes files with holes, and a process that writes into one while the disk is full is killed.
    So room is taken first, for as many values as there are as a rule.
    """

    def __init__(self, directory: Path, process: str) -> None:
        self._directory = directory
        self._process = process
        self._shared = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]
        self._full: set[str] = set()

    def __call__(self, kind: str, *described: Any, multiprocess_mode: str = "", **more: Any) -> Any:
        prefix = f"{kind}_{multiprocess_mode}" if kind == "gauge" else kind
        if prefix not in self._full:
            try:
                self._take_room(self._directory / f"{prefix}_{self._process}.db")
                return self._shared(kind, *described, multiprocess_mode=multiprocess_mode, **more)
            except Exception:  # noqa: BLE001  (a metric that is not shared must not cost a request)
                # What could not grow must not be written to again: the library takes it to have grown.
                self._full.add(prefix)
        return values.MutexValue(kind, *described, multiprocess_mode=multiprocess_mode, **more)  # type: ignore[no-untyped-call]

    @staticmethod
    def _take_room(file: Path) -> None:
        if not file.exists():
            try:
                file.write_bytes(bytes(_ROOM))
            except OSError:
                file.unlink(missing_ok=True)
                raise


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
