"""Hearing of a cancellation that the library has missed.

Before Python 3.12 ``asyncio.wait_for``, which the library sends and receives with, answers as if nothing had
happened when a call ends in the very moment in which it is cancelled. Whoever asks Redis again and again
would never stop.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cancellation_heard() -> Iterator[None]:
    """Raise ``CancelledError`` at the end, whatever came of it, if the task was cancelled meanwhile."""
    before = _cancellations()
    try:
        yield
    finally:
        if _cancellations() > before:
            raise asyncio.CancelledError


def _cancellations() -> int:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs
        return 0
    return 0 if task is None else task.cancelling()
