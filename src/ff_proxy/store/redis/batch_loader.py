"""Batching concurrent lookups into one request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from ff_proxy.errors import StoreUnavailable

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


class BatchLoader(Generic[_Question, _Answer]):
    """One batch of each group runs at a time; lookups that arrive meanwhile form the next.

    So a lookup never gets a result older than itself, and a slow store occupies only one connection.

    Args:
        ask: looks up at most ``most`` different keys of one group, in order and with a timeout. An error in
            the place of an answer concerns that key alone.
        group: the group of a key, one of few; groups do not wait for each other.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[_Question]], Awaitable[Sequence[_Answer | StoreUnavailable]]],
        *,
        most: int,
        group: Callable[[_Question], str],
    ) -> None:
        self._ask = ask
        self._most: Final = most
        self._group = group
        self._waiting: dict[str, dict[_Question, asyncio.Future[_Answer | StoreUnavailable]]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def get(self, question: _Question) -> _Answer:
        """Look up one key; raises ``StoreUnavailable``."""
        group = self._group(question)
        waiting = self._waiting.setdefault(group, {})
        answer = waiting.get(question)
        if answer is None:
            answer = waiting[question] = asyncio.get_running_loop().create_future()
        if group not in self._asking:
            self._asking[group] = asyncio.create_task(self._work(group, waiting))
        # Shielded: others may wait for the same result.
        found = await asyncio.shield(answer)
        if isinstance(found, StoreUnavailable):
            raise StoreUnavailable(str(found)) from found
        return found

    async def close(self) -> None:
        """Close; waiting lookups fail."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _work(
        self, group: str, waiting: dict[_Question, asyncio.Future[_Answer | StoreUnavailable]]
    ) -> None:
        batch: list[asyncio.Future[_Answer | StoreUnavailable]] = []
        try:
            while waiting:
                asked = list(waiting)[: self._most]
                batch = [waiting.pop(question) for question in asked]
                try:
                    answers = await self._ask(asked)
                except StoreUnavailable as error:
                    answers = [error] * len(batch)
                _give(batch, answers)
        finally:
            del self._asking[group]
            left = [*batch, *waiting.values()]
            waiting.clear()
            _give(left, [StoreUnavailable("the store is being closed")] * len(left))


def _give(
    waiting: Sequence["asyncio.Future[_Answer | StoreUnavailable]"],
    answers: Sequence[_Answer | StoreUnavailable],
) -> None:
    for future, answer in zip(waiting, answers, strict=True):
        if not future.done():
            future.set_result(answer)
