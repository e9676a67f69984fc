"""Batching concurrent lookups into one request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from ff_proxy.errors import StoreUnavailable

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


class BatchLoader(Generic[_Question, _Answer]):
    """One batch runs at a time; lookups that arrive meanwhile form the next.

    So a lookup never gets a result older than itself, and a slow store occupies only one connection.

    Args:
        ask: looks up at most ``most`` different keys, in order and with a timeout. An error in the place of
            an answer concerns that key alone.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[_Question]], Awaitable[Sequence[_Answer | StoreUnavailable]]],
        *,
        most: int,
    ) -> None:
        self._ask = ask
        self._most: Final = most
        self._waiting: dict[_Question, asyncio.Future[_Answer | StoreUnavailable]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, question: _Question) -> _Answer:
        """Look up one key; raises ``StoreUnavailable``."""
        answer = self._waiting.get(question)
        if answer is None:
            answer = self._waiting[question] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._work())
        # Shielded: others may wait for the same result.
        found = await asyncio.shield(answer)
        if isinstance(found, StoreUnavailable):
            raise StoreUnavailable(str(found)) from found
        return found

    async def close(self) -> None:
        """Close; waiting lookups fail."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _work(self) -> None:
        asked: list[_Question] = []
        try:
            while self._waiting:
                asked = list(self._waiting)[: self._most]
                batch = [self._waiting.pop(question) for question in asked]
                _give(batch, await self._answers(batch, asked))
        finally:
            self._asking = None
            left, self._waiting = self._waiting, {}
            _give(list(left.values()), [StoreUnavailable("the store is being closed")] * len(left))

    async def _answers(
        self, batch: Sequence[asyncio.Future[_Answer | StoreUnavailable]], asked: Sequence[_Question]
    ) -> Sequence[_Answer | StoreUnavailable]:
        try:
            return await self._ask(asked)
        except StoreUnavailable as error:
            return [error] * len(batch)
        except BaseException:
            _give(batch, [StoreUnavailable("the store is being closed")] * len(batch))
            raise


class GroupedLoader(Generic[_Question, _Answer]):
    """Batches of questions of one group each: groups do not wait for each other.

    Args:
        group: which group a question is in: the name of one of few.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[_Question]], Awaitable[Sequence[_Answer | StoreUnavailable]]],
        *,
        most: int,
        group: Callable[[_Question], str],
    ) -> None:
        self._make = partial(BatchLoader[_Question, _Answer], ask, most=most)
        self._group = group
        self._loaders: dict[str, BatchLoader[_Question, _Answer]] = {}

    async def get(self, question: _Question) -> _Answer:
        """Look up one key; raises ``StoreUnavailable``."""
        group = self._group(question)
        if group not in self._loaders:
            self._loaders[group] = self._make()
        return await self._loaders[group].get(question)

    async def close(self) -> None:
        """Close; waiting lookups fail."""
        for loader in self._loaders.values():
            await loader.close()


def _give(
    waiting: Sequence["asyncio.Future[_Answer | StoreUnavailable]"],
    answers: Sequence[_Answer | StoreUnavailable],
) -> None:
    for future, answer in zip(waiting, answers, strict=True):
        if not future.done():
            future.set_result(answer)
