"""Counters in shared memory: one writer counts its writes, readers see at once that something moved.

A counter is eight bytes at an aligned place, written by one process only; readers compare for equality.
"""

import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import mmh3

from ff_proxy.model.keys import EnvironmentId

_STRIPES: Final = 8192
_BYTES: Final = 8


class Tide:
    """The page at ``path``: one counter for environments, and stripes for targets.

    The sync process calls ``create`` and then ``environments_moved`` and ``target_moved``; workers call
    ``open`` and compare.
    """

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page
        self._counters: memoryview = memoryview(page).cast("Q")

    @classmethod
    def create(cls, path: Path) -> Self:
        """A fresh page at ``path``, all counters at zero."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, (1 + _STRIPES) * _BYTES)
            return cls(mmap.mmap(descriptor, 0))
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The page that another process created."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return cls(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._counters.release()
        self._page.close()

    @property
    def environments(self) -> int:
        """Changes with every write to any environment."""
        count: int = self._counters[0]
        return count

    def environments_moved(self) -> None:
        """Count a write to an environment."""
        self._counters[0] += 1

    def targets(self, environment: EnvironmentId, identifier: str) -> int:
        """Changes with every write to this target (and to some others)."""
        count: int = self._counters[_stripe(environment, identifier)]
        return count

    def target_moved(self, environment: EnvironmentId, identifier: str) -> None:
        """Count a write to a target."""
        self._counters[_stripe(environment, identifier)] += 1


def _stripe(environment: EnvironmentId, identifier: str) -> int:
    name = f"{environment}\0{identifier}".encode("utf-8", "surrogatepass")
    return 1 + mmh3.hash(name, 0, signed=False) % _STRIPES
