"""Detects whether the running task was cancelled, even if a library swallowed the cancellation."""

import asyncio


def _cancellations() -> int:
    """The number of pending cancellations of the running task; 0 outside of tasks."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop is running
        return 0
    return 0 if task is None else task.cancelling()


class CancellationCheck:
    """Detects cancellations of the running task since this was created.

    Libraries lose cancellations: ``asyncio.wait_for`` before Python 3.12 returns normally if the call ends
    at the moment of the cancellation, and ``asyncio.TaskGroup`` on Python 3.11 raises the errors of its tasks
    instead. They also raise ``CancelledError`` without any cancellation.
    """

    def __init__(self) -> None:
        self._before = _cancellations()

    def cancelled(self) -> bool:
        """Whether the task has been cancelled since."""
        return _cancellations() > self._before

    def raise_if_cancelled(self, cause: BaseException | None = None) -> None:
        """Raise ``CancelledError`` if the task has been cancelled since."""
        if self.cancelled():
            raise asyncio.CancelledError from cause
