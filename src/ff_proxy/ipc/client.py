"""A worker's connection to the sync process: one, shared by every call, and made again when it is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ff_proxy.errors import StoreRefused, StoreUnavailable
from ff_proxy.ipc import messages
from ff_proxy.model.clock import Clock
from ff_proxy.store.change_feed import Feed
from ff_proxy.store.protocol import Notice

# SDKs wait 10 seconds at least for an authentication (spec/sdk-wire#timeouts), which asks twice.
_ANSWER_SECONDS: Final = 5.0
_TRY_AGAIN: Final = 0.02
# The sync process is started again at once when it dies, and soon if it does so again.
_PATIENCE: Final = 3.0
_AWAY: Final = "the process that holds the store is away"


class Gone(StoreUnavailable):
    """The connection was lost before the answer came: nobody knows whether the other end did it."""


class IpcClient:
    """Connects while it is open.

    Calls wait for a lost connection until it has been gone for ``patience`` seconds; from then on they fail
    at once. So a restart of the other end is not noticed, and a long absence costs each caller nothing.
    """

    def __init__(self, path: Path, clock: Clock, patience: float = _PATIENCE) -> None:
        self._path = path
        self._clock = clock
        self._patience = patience
        self._connection: _Connection | None = None
        self._connected = asyncio.Event()
        self._lost = clock.monotonic()
        self._keeping: asyncio.Task[None] | None = None
        self._feed = Feed()

    async def __aenter__(self) -> Self:
        self._lost = self._clock.monotonic()
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping

    async def ask(
        self, request: messages.Request, kind: Any, *, again: bool = True, seconds: float = _ANSWER_SECONDS
    ) -> Any:
        """The answer to one request within ``seconds``, as ``kind``; raises ``StoreUnavailable``.

        With ``again`` it is asked once more if the connection is lost before the answer comes.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    connection = await self._current()
                    try:
                        return await connection.ask(request, kind)
                    except Gone:
                        if not again:
                            raise
        except TimeoutError as error:
            raise StoreUnavailable("the process that holds the store does not answer") from error

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Notice]]:
        """Notices from now on; the iterator raises ``StoreUnavailable`` when the connection is lost."""
        async with self._feed.watch() as notices:
            connection = await self._current()
            await connection.watch()
            yield connection.until_lost(notices)

    async def _current(self) -> "_Connection":
        while self._connection is None:
            left = self._lost + self._patience - self._clock.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._connected.wait()
            except TimeoutError as error:
                raise StoreUnavailable(_AWAY) from error
        return self._connection

    async def _keep(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except Exception:  # noqa: BLE001  (whatever it is: without a connection nothing works here)
                await self._clock.sleep(_TRY_AGAIN)
                continue
            self._connection = _Connection(reader, writer, self._feed)
            self._connected.set()
            try:
                await self._connection.listen()
            finally:
                self._connected.clear()
                self._connection = None
                self._lost = self._clock.monotonic()
            await self._clock.sleep(_TRY_AGAIN)


class _Connection:
    """One connection, from its beginning to its loss."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, feed: Feed) -> None:
        self._reader = reader
        self._writer = writer
        self._feed = feed
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[messages.Answered | None]] = {}
        self._ended = asyncio.Event()
        self._watched = False

    async def ask(self, request: messages.Request, kind: Any) -> Any:
        """The answer as ``kind``; raises ``Gone``, and what the other end answered for an error."""
        if self._ended.is_set():
            raise Gone(_AWAY)
        number = next(self._numbers)
        answer: asyncio.Future[messages.Answered | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            messages.write_frame(self._writer, messages.Asked(number, request))
            with suppress(OSError):  # whoever listens finds out
                await self._writer.drain()
            answered = await answer
        finally:
            del self._waiting[number]
        if answered is None:
            raise Gone(_AWAY)
        if answered.failure is not None:
            kind_of_error = StoreRefused if answered.failure.final else StoreUnavailable
            raise kind_of_error(answered.failure.problem)
        return messages.decode(answered.result, kind)

    async def watch(self) -> None:
        """See that notices come."""
        if not self._watched:
            await self.ask(messages.Watch(), None)
            self._watched = True

    async def until_lost(self, notices: AsyncIterator[Notice]) -> AsyncIterator[Notice]:
        """The same notices until the connection is lost."""
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            while True:
                following = asyncio.ensure_future(_following(notices))
                try:
                    await asyncio.wait([ended, following], return_when=asyncio.FIRST_COMPLETED)
                    if not following.done():
                        raise Gone(_AWAY)
                    yield following.result()
                finally:
                    following.cancel()
        finally:
            ended.cancel()

    async def listen(self) -> None:
        """Hand out what comes, until the other end is gone."""
        try:
            while True:
                answered = messages.decode_answered(await messages.read_frame(self._reader))
                if answered.number == messages.NOTICES:
                    self._feed.publish(messages.decode(answered.result, Notice))
                elif (answer := self._waiting.get(answered.number)) is not None and not answer.done():
                    answer.set_result(answered)
        except StoreUnavailable:
            return
        finally:
            self._ended.set()
            self._writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    # No exception: who asked may be cancelled in this moment, and nobody would retrieve it.
                    answer.set_result(None)


async def _following(notices: AsyncIterator[Notice]) -> Notice:
    return await anext(notices)
