"""Many small questions at once, asked of Redis as one."""

import asyncio
from typing import Final

from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.redis.connection import Connection

_ANSWER_SECONDS: Final = 0.5
_Name = tuple[str, bytes]


class Lookups:
    """Reads fields of hashes. One batch is under way at a time; what is asked meanwhile is the next.

    So a look-up never shares an answer that may be older than itself, and a Redis that is slow costs one
    connection, however many wait for it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[_Name, asyncio.Future[bytes | StoreUnavailable | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: str, field: bytes) -> bytes | None:
        """One field; raises ``StoreUnavailable``, after half a second at the latest for each batch."""
        name = (key, field)
        answer = self._waiting.get(name)
        if answer is None:
            answer = self._waiting[name] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # Shielded: others may wait for the same answer.
        found = await asyncio.shield(answer)
        if isinstance(found, StoreUnavailable):
            raise StoreUnavailable(str(found))
        return found

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, {}
                answers = await self._answers(list(asked))
                for waiting, answer in zip(asked.values(), answers, strict=True):
                    if not waiting.done():
                        waiting.set_result(answer)
        finally:
            self._asking = None

    async def _answers(self, names: list[_Name]) -> list[bytes | StoreUnavailable | None]:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._connection.each([("HGET", key, field) for key, field in names])
        except StoreUnavailable as error:
            return [error] * len(names)
        except TimeoutError:
            return [StoreUnavailable("Redis does not answer in time")] * len(names)
