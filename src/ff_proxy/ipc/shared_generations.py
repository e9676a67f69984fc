"""Facts in shared memory: one process counts its writes, others see at once that something changed.

A counter is eight aligned bytes, written by one process only; readers compare for equality. Several
environments or targets may share a counter, which costs only an unnecessary check.
"""

import mmap
from collections.abc import Callable
from functools import partial
from typing import Final, Self

import mmh3

from ff_proxy.model.keys import EnvironmentId

_ENVIRONMENTS: Final = 1024
_TARGETS: Final = 8192
_BYTES: Final = 8
# Behind the counters.
_READY: Final = _ENVIRONMENTS + _TARGETS


class SharedGenerations:
    """Memory shared with children that are forked later.

    The sync process increments; after a restart it calls ``bump_all``, since its last writes may be
    uncounted. Workers compare, and mark that the proxy has been ready.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, (_READY + 1) * _BYTES)
        self._counters: memoryview = memoryview(self._page).cast("Q")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._counters.release()
        self._page.close()

    def environment(self, environment: EnvironmentId) -> int:
        """The counter of an environment's writes."""
        count: int = self._counters[_environment_slot(environment)]
        return count

    def environment_reader(self, environment: EnvironmentId) -> Callable[[], int]:
        """A fast reader of ``environment``."""
        return partial(self._counters.__getitem__, _environment_slot(environment))

    def bump_environment(self, environment: EnvironmentId) -> None:
        """Count a write to an environment, before it is announced."""
        self._counters[_environment_slot(environment)] += 1

    def target_reader(self, environment: EnvironmentId, identifier: str) -> Callable[[], int]:
        """A fast reader of the counter of a target's writes."""
        return partial(self._counters.__getitem__, _target_slot(environment, identifier))

    def bump_target(self, environment: EnvironmentId, identifier: str) -> None:
        """Count a write to a target."""
        self._counters[_target_slot(environment, identifier)] += 1

    @property
    def was_ready(self) -> bool:
        """Whether some process of this proxy has been ready."""
        return bool(self._counters[_READY])

    def mark_ready(self) -> None:
        """Tell all processes of this proxy, also those that start later, that it has been ready."""
        self._counters[_READY] = 1

    def bump_all(self) -> None:
        """Invalidate everything."""
        for slot in range(_ENVIRONMENTS + _TARGETS):
            self._counters[slot] += 1


def _environment_slot(environment: EnvironmentId) -> int:
    return _hashed(environment) % _ENVIRONMENTS


def _target_slot(environment: EnvironmentId, identifier: str) -> int:
    return _ENVIRONMENTS + _hashed(f"{environment}\0{identifier}") % _TARGETS


def _hashed(name: str) -> int:
    hashed: int = mmh3.hash(name.encode("utf-8", "surrogatepass"), 0, signed=False)
    return hashed
