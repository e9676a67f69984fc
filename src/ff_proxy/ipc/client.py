"""A worker's connection to the sync process, shared by all calls, with automatic reconnects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

from ff_proxy.errors import StoreRefused, StoreUnavailable
from ff_proxy.ipc import messages
from ff_proxy.ipc.frames import FrameConnection
from ff_proxy.model.clock import Clock
from ff_proxy.store.change_feed import Feed
from ff_proxy.store.protocol import Notice

# SDKs wait at least 10 seconds for an authentication (spec/sdk-wire#timeouts), which makes two calls.
_ANSWER_SECONDS: Final = 5.0
_RECONNECT_SECONDS: Final = 0.02
# The supervisor restarts the sync process at once, and soon if it dies again.
_PATIENCE_SECONDS: Final = 3.0
_AWAY: Final = "the sync process is not reachable"


class ConnectionLost(StoreUnavailable):
    """The connection was lost before the response: the call may or may not have been executed."""


class IpcClient:
    """Connects on entry and stays connected.

    After a lost connection, calls wait for up to ``patience`` seconds; later calls fail at once. So a restart
    of the sync process goes unnoticed, and a long outage delays no call.
    """

    def __init__(self, path: Path, clock: Clock, patience: float = _PATIENCE_SECONDS) -> None:
        self._path = path
        self._clock = clock
        self._patience = patience
        self._connection: _Connection | None = None
        self._connected = asyncio.Event()
        self._lost_since = clock.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._feed = Feed()

    async def __aenter__(self) -> Self:
        self._lost_since = self._clock.monotonic()
        self._task = asyncio.create_task(self._maintain())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def call(
        self, request: messages.Request, kind: Any, *, retry: bool = True, seconds: float = _ANSWER_SECONDS
    ) -> Any:
        """Send one request; returns the response within ``seconds``. Raises ``StoreUnavailable``.

        With ``retry`` the request is repeated once if the connection is lost before the response.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    connection = await self._current()
                    try:
                        return await connection.call(request, kind)
                    except ConnectionLost:
                        if not retry:
                            raise
        except TimeoutError as error:
            raise StoreUnavailable("the sync process does not answer") from error

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Notice]]:
        """Subscribe to notices; the iterator raises ``StoreUnavailable`` when the connection is lost."""
        async with self._feed.watch() as notices:
            connection = await self._current()
            await connection.watch()
            yield connection.until_lost(notices)

    async def _current(self) -> "_Connection":
        while self._connection is None:
            left = self._lost_since + self._patience - self._clock.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._connected.wait()
            except TimeoutError as error:
                raise StoreUnavailable(_AWAY) from error
        return self._connection

    async def _maintain(self) -> None:
        while True:
            try:
                _, frames = await asyncio.get_running_loop().create_unix_connection(
                    FrameConnection, str(self._path)
                )
            except Exception:  # noqa: BLE001  (whatever it is: without a connection nothing works here)
                await self._clock.sleep(_RECONNECT_SECONDS)
                continue
            self._connection = _Connection(frames, self._feed)
            self._connected.set()
            try:
                await self._connection.listen()
            finally:
                self._connected.clear()
                self._connection = None
                self._lost_since = self._clock.monotonic()
            await self._clock.sleep(_RECONNECT_SECONDS)


class _Connection:
    """One connection."""

    def __init__(self, frames: FrameConnection, feed: Feed) -> None:
        self._frames = frames
        self._feed = feed
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[messages.ResponseMessage | None]] = {}
        self._ended = asyncio.Event()
        self._watched = False

    async def call(self, request: messages.Request, kind: Any) -> Any:
        """Send a request; returns the response as ``kind``. Raises ``ConnectionLost`` or the remote error."""
        if self._ended.is_set():
            raise ConnectionLost(_AWAY)
        number = next(self._numbers)
        answer: asyncio.Future[messages.ResponseMessage | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._frames.send(messages.encode(messages.RequestMessage(number, request)))
            await self._frames.drain()
            answered = await answer
        finally:
            del self._waiting[number]
        if answered is None:
            raise ConnectionLost(_AWAY)
        if answered.failure is not None:
            kind_of_error = StoreRefused if answered.failure.final else StoreUnavailable
            raise kind_of_error(answered.failure.problem)
        return messages.decode(answered.result, kind)

    async def watch(self) -> None:
        """Turn notices on."""
        if not self._watched:
            await self.call(messages.Watch(), None)
            self._watched = True

    async def until_lost(self, notices: AsyncIterator[Notice]) -> AsyncIterator[Notice]:
        """Pass on the notices until the connection is lost."""
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            while True:
                following = asyncio.ensure_future(_following(notices))
                try:
                    await asyncio.wait([ended, following], return_when=asyncio.FIRST_COMPLETED)
                    if not following.done():
                        raise ConnectionLost(_AWAY)
                    yield following.result()
                finally:
                    following.cancel()
        finally:
            ended.cancel()

    async def listen(self) -> None:
        """Dispatch messages until the other end closes."""
        try:
            while True:
                answered = messages.decode_response(await self._frames.receive())
                if answered.number == messages.NOTICES:
                    self._feed.publish(messages.decode(answered.result, Notice))
                elif (answer := self._waiting.get(answered.number)) is not None and not answer.done():
                    answer.set_result(answered)
        except StoreUnavailable:
            return
        finally:
            self._ended.set()
            self._frames.close()
            for answer in self._waiting.values():
                if not answer.done():
                    # Not an exception: the caller may be cancelled, and it would never be retrieved.
                    answer.set_result(None)


async def _following(notices: AsyncIterator[Notice]) -> Notice:
    return await anext(notices)
