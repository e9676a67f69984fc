"""Counters in shared memory: one writer counts its writes, readers see at once that something moved.

A counter is eight bytes at an aligned place, written by one process only; readers compare for equality.
Several environments or targets may share a counter: who finds it moved looks, and finds nothing new.
"""

import mmap
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Self

import mmh3

from ff_proxy.model.keys import EnvironmentId

_ENVIRONMENTS: Final = 1024
_TARGETS: Final = 8192
_BYTES: Final = 8


class SharedGenerations:
    """Memory that a process shares with the children it forks afterwards.

    The sync process calls the methods that move, and its successor calls ``bump_all``, since nobody
    knows what was done just before the end; workers compare.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, (_ENVIRONMENTS + _TARGETS) * _BYTES)
        self._counters: memoryview = memoryview(self._page).cast("Q")

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

    def environment(self, environment: EnvironmentId) -> int:
        """Changes with every write to this environment."""
        count: int = self._counters[_environment_stripe(environment)]
        return count

    def environment_reader(self, environment: EnvironmentId) -> Callable[[], int]:
        """What ``environment`` answers, for who asks again and again."""
        return partial(self._counters.__getitem__, _environment_stripe(environment))

    def bump_environment(self, environment: EnvironmentId) -> None:
        """Count a write to an environment: before anybody is told of it."""
        self._counters[_environment_stripe(environment)] += 1

    def target(self, environment: EnvironmentId, identifier: str) -> int:
        """Changes with every write to this target."""
        count: int = self._counters[_target_stripe(environment, identifier)]
        return count

    def target_reader(self, environment: EnvironmentId, identifier: str) -> Callable[[], int]:
        """What ``target`` answers, for who asks again and again."""
        return partial(self._counters.__getitem__, _target_stripe(environment, identifier))

    def bump_target(self, environment: EnvironmentId, identifier: str) -> None:
        """Count a write to a target."""
        self._counters[_target_stripe(environment, identifier)] += 1

    def bump_all(self) -> None:
        """Have everybody compare everything."""
        for stripe in range(_ENVIRONMENTS + _TARGETS):
            self._counters[stripe] += 1


def _environment_stripe(environment: EnvironmentId) -> int:
    return _hashed(environment) % _ENVIRONMENTS


def _target_stripe(environment: EnvironmentId, identifier: str) -> int:
    return _ENVIRONMENTS + _hashed(f"{environment}\0{identifier}") % _TARGETS


def _hashed(name: str) -> int:
    hashed: int = mmh3.hash(name.encode("utf-8", "surrogatepass"), 0, signed=False)
    return hashed
