"""Whether the running task was cancelled, whatever a library made of that."""

import asyncio


def cancellations() -> int:
    """How many cancellations of the running task are pending; 0 outside of tasks."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs
        return 0
    return 0 if task is None else task.cancelling()


class CancellationCheck:
    """Remembers how often the running task had been cancelled when this was made.

    Libraries lose cancellations (``asyncio.wait_for`` before Python 3.12 answers as if nothing had happened
    when a call ends in the very moment in which it is cancelled; ``asyncio.TaskGroup`` on Python 3.11
    raises the errors of its tasks instead), and raise ``CancelledError`` when nobody cancelled anything.
    """

    def __init__(self) -> None:
        self._before = cancellations()

    def cancelled(self) -> bool:
        """Whether the task has been cancelled since."""
        return cancellations() > self._before

    def raise_if_cancelled(self, cause: BaseException | None = None) -> None:
        """Raise ``CancelledError`` if the task has been cancelled since."""
        if self.cancelled():
            raise asyncio.CancelledError from cause
