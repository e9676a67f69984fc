"""Tuning the garbage collector of a process that keeps many objects (docs/decisions/0020-short-pauses.md)."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

_OLDEST: Final = 2
_LONG: Final = 0.005
_EVERY: Final = 5
"""Collections of the middle generation between full ones: half the default makes full ones half as long."""


@contextmanager
def without_gc() -> Iterator[None]:
    """Within the context nothing is collected, and objects that exist at its end are never visited again.

    For imports, which make no garbage but many objects that live as long as the process.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def end_gc() -> None:
    """Spare the ending process the interpreter's last collections."""
    gc.freeze()


@contextmanager
def tune_gc(seconds: Callable[[], float] = time.perf_counter) -> Iterator[None]:
    """Within the context, objects that survive a long full collection are not visited again.

    A full collection stops the process until it has visited everything; so it visits only objects that are
    newer than the last long one. Frozen objects are still freed by reference count; only cycles stay that
    were alive then and became garbage later. ``seconds`` is a timer.
    """
    watch = _Watch(seconds)
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, _EVERY)
    gc.callbacks.append(watch)
    try:
        yield
    finally:
        gc.callbacks.remove(watch)
        gc.set_threshold(young, middle, old)
        gc.unfreeze()


class _Watch:
    """Called before and after each collection."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._began = 0.0

    def __call__(self, phase: str, info: Mapping[str, Any]) -> None:
        if info["generation"] < _OLDEST:
            return
        if phase == "start":
            self._began = self._seconds()
        elif self._seconds() - self._began > _LONG:
            gc.freeze()
