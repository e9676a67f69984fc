"""The last log lines of several processes, in files that the one with the admin address reads."""

import heapq
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from ff_proxy.telemetry.log_ring import MOST_LINES, LogLine, matching

_BUDGET: Final = 512 * 1024
_MODE: Final = 0o600
_NEWER, _OLDER = ".log", ".older"
_STAMP: Final = re.compile(r'"ts":"([^"]*)"}$')


class LogFile:
    """The last lines of one process: about ``budget`` bytes below ``directory``.

    It is written to like a file, in whole lines of JSON; a successor of the same name goes on with it. When
    half of the budget is full, the other half begins anew. Raises ``OSError`` if a line finds no room.
    """

    def __init__(self, directory: Path, process: str, budget: int = _BUDGET) -> None:
        self._path = directory / f"{process}{_NEWER}"
        self._half = budget // 2
        self._written = 0
        self._descriptor = -1

    def write(self, text: str) -> None:
        """Add these lines."""
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, _MODE)
            self._written = os.fstat(self._descriptor).st_size
        self._written += os.write(self._descriptor, text.encode("ascii", "replace"))
        if self._written >= self._half:
            os.close(self._descriptor)
            self._descriptor = -1
            self._path.replace(_older(self._path))

    def flush(self) -> None:
        """Nothing to do: lines are written at once."""


class LogFiles:
    """The last lines of all processes that write to ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def lines(self, least: int = logging.DEBUG, environment: str = "", text: str = "") -> Iterator[LogLine]:
        """See ``RecentLines``; the last ones of all processes together."""
        paths = {file.with_suffix(_NEWER) for file in self._directory.iterdir()}
        merged = heapq.merge(*map(_newest_first, sorted(paths)), key=_stamp, reverse=True)
        return matching(islice(merged, MOST_LINES), least, environment, text)


def _newest_first(path: Path) -> Iterator[str]:
    # While they are read, the newer file may become the older one: then its lines are missing once.
    for file in (path, _older(path)):
        with suppress(OSError):
            yield from reversed(file.read_text(encoding="ascii", errors="replace").splitlines())


def _stamp(raw: str) -> str:
    found = _STAMP.search(raw)
    return "" if found is None else found[1]


def _older(path: Path) -> Path:
    return path.with_suffix(_OLDER)
