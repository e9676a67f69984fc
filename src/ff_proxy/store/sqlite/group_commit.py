"""Group commit: work that is asked for while a transaction runs shares the next one."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final, NamedTuple, TypeVar

_Result = TypeVar("_Result")
_Outcome = tuple[Any, Exception | None]
Work = Callable[[sqlite3.Connection], _Result]

# A transaction's work: few enough that its first caller does not wait long for its last.
_MOST: Final = 256


class _Call(NamedTuple):
    work: Work[Any]
    answer: asyncio.Future[Any]


class GroupCommit:
    """Runs work on a connection in its own thread, one transaction at a time.

    Work that fails is rolled back alone: the others of its transaction are run again, each in its own.

    Args:
        connection: the database, with autocommit.
        thread: one thread.
        seconds: the timeout of a transaction.
        translated: what to raise for an error.
        up: set to 1 or 0 after each use.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        thread: Executor,
        seconds: float,
        translated: Callable[[Exception], Exception],
        up: Callable[[float], object],
    ) -> None:
        self._connection = connection
        self._thread = thread
        self._seconds = seconds
        self._translated = translated
        self._up = up
        self._waiting: deque[_Call] = deque()
        self._running: asyncio.Future[list[_Outcome]] | None = None

    async def run(self, work: Work[_Result]) -> _Result:
        """Run ``work`` in a transaction: committed when this returns, rolled back when it raises.

        ``work`` must change nothing but the database, since it may be run again after a rollback. It is not
        begun if this is cancelled before. Raises what ``translated`` makes of the error of ``work``, of the
        commit, or of a timeout.
        """
        answer: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(work, answer))
        if self._running is None:
            self._start()
        return await answer

    async def close(self) -> None:
        """Wait for everything that was asked for, and close the connection."""
        while self._running is not None:
            await asyncio.wait([self._running])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)

    def _start(self) -> None:
        calls: list[_Call] = []
        while self._waiting and len(calls) < _MOST:
            call = self._waiting.popleft()
            if not call.answer.done():
                calls.append(call)
        if not calls:
            return
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._thread, self._run_all, [call.work for call in calls])
        timer = loop.call_later(self._seconds, self._give_up, calls, running)
        running.add_done_callback(lambda _: timer.cancel())
        running.add_done_callback(lambda _: self._finish(calls, running.result()))
        self._running = running

    def _finish(self, calls: Sequence[_Call], outcomes: Sequence[_Outcome]) -> None:
        self._running = None
        for call, (result, error) in zip(calls, outcomes, strict=True):
            if error is not None:
                self._fail(call, error)
            elif not call.answer.done():
                call.answer.set_result(result)
        self._up(float(all(error is None for _, error in outcomes)))
        self._start()

    def _give_up(self, calls: Sequence[_Call], running: asyncio.Future[list[_Outcome]]) -> None:
        """Fail ``calls`` and all that wait for them; a thread cannot be cancelled, so it may still end."""
        for call in (*calls, *self._waiting):
            self._fail(call, TimeoutError())
        self._waiting.clear()
        self._up(0)
        timer = asyncio.get_running_loop().call_later(self._seconds, self._give_up, (), running)
        running.add_done_callback(lambda _: timer.cancel())

    def _fail(self, call: _Call, error: Exception) -> None:
        if not call.answer.done():
            translated = self._translated(error)
            if translated is not error:
                translated.__cause__ = error
            call.answer.set_exception(translated)

    def _run_all(self, works: Sequence[Work[Any]]) -> list[_Outcome]:
        try:
            return [(result, None) for result in self._transaction(works)]
        except Exception as error:  # noqa: BLE001  (raised by ``run``)
            if len(works) == 1:
                return [(None, error)]
        return [outcome for work in works for outcome in self._run_all([work])]

    def _transaction(self, works: Sequence[Work[Any]]) -> list[Any]:
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            return [work(self._connection) for work in works]
