"""Open SSE streams, and their faults."""

import asyncio
from collections.abc import Callable
from typing import Final, Literal, final

from starlette.types import Receive, Scope, Send

from ff_proxy.model.environment import Change
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.sandbox.connection import Connection, connection_of
from ff_proxy.sandbox.state import Settings
from ff_proxy.sandbox.wire import HEARTBEAT, event_record

_BACKLOG: Final = 10_000

_HEAD: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"connection", b"close"),
    (b"x-accel-buffering", b"no"),
)


@final
class Stream:
    """One listener; records wait in a bounded queue, and a listener that falls too far behind is cut off."""

    def __init__(self, environment: EnvironmentId, key: SdkKeyHash) -> None:
        self.environment: Final = environment
        self.key: Final = key
        self.connection: Connection | None = None
        self._records: asyncio.Queue[bytes | None] = asyncio.Queue(_BACKLOG)

    def put(self, record: bytes | None) -> None:
        """Send ``record`` as one HTTP chunk, after those that wait already; ``None`` ends the response."""
        try:
            self._records.put_nowait(record)
        except asyncio.QueueFull:
            self.reset()

    def reset(self) -> None:
        """Break the connection."""
        if self.connection is not None:
            self.connection.reset()

    async def next(self, patience: float) -> bytes | None:
        """The next record, a heartbeat after ``patience`` seconds without one, ``None`` at the end."""
        try:
            async with asyncio.timeout(patience):
                return await self._records.get()
        except TimeoutError:
            return HEARTBEAT


class Streams:
    """Every open stream of the sandbox."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: set[Stream] = set()
        self._muted: set[EnvironmentId] = set()
        self._all_muted = False
        self._changed = asyncio.Event()

    def open_streams(self, environment: EnvironmentId | None = None) -> list[Stream]:
        """The open streams, of one environment if given."""
        return [stream for stream in self._open if environment in {None, stream.environment}]

    def count(self, environment: EnvironmentId | None = None) -> int:
        """How many streams are open."""
        return len(self.open_streams(environment))

    async def until(self, wanted: Callable[[int], bool], environment: EnvironmentId | None = None) -> None:
        """Wait until the number of open streams is a wanted one; the caller bounds the wait."""
        while not wanted(self.count(environment)):
            await self._changed.wait()

    def publish(self, environment: EnvironmentId, change: Change) -> None:
        """Announce a change to the environment's streams."""
        self.send(environment, event_record(change))

    def send(self, environment: EnvironmentId | None, chunk: bytes) -> None:
        """Send bytes of any kind to the streams of an environment, or to all, as one chunk."""
        for stream in self.open_streams(environment):
            # Lost, as on a dead connection.
            if not self.is_muted(stream.environment):
                stream.put(chunk)

    def cut(self, environment: EnvironmentId | None = None, how: Literal["eof", "reset"] = "eof") -> int:
        """End the streams of an environment, or all of them; returns how many."""
        streams = self.open_streams(environment)
        for stream in streams:
            if how == "reset":
                stream.reset()
            else:
                stream.put(None)
        return len(streams)

    def cut_key(self, key: SdkKeyHash) -> None:
        """End the streams that were opened with a key."""
        for stream in self.open_streams():
            if stream.key == key:
                stream.put(None)

    def mute(self, environment: EnvironmentId | None = None) -> None:
        """Send nothing more to an environment's streams, or to all; new ones get no head either."""
        if environment is None:
            self._all_muted = True
        else:
            self._muted.add(environment)

    def unmute(self, environment: EnvironmentId | None = None) -> None:
        """Undo ``mute``: of one environment, or every one."""
        if environment is None:
            self._all_muted = False
            self._muted.clear()
        else:
            self._muted.discard(environment)
        for stream in self.open_streams(environment):
            stream.put(HEARTBEAT)

    def is_muted(self, environment: EnvironmentId) -> bool:
        """Whether nothing is sent to the environment's streams."""
        return self._all_muted or environment in self._muted

    def response(self, environment: EnvironmentId, key: SdkKeyHash) -> "StreamResponse":
        """A response that streams until it is ended or its client disconnects."""
        return StreamResponse(self, self._settings, Stream(environment, key))

    def add(self, stream: Stream) -> None:
        """A stream has been opened."""
        self._open.add(stream)
        self._wake()

    def discard(self, stream: Stream) -> None:
        """A stream has ended."""
        self._open.discard(stream)
        self._wake()

    def _wake(self) -> None:
        # Wakes the current waiters only.
        self._changed.set()
        self._changed = asyncio.Event()


class StreamResponse:
    """An ASGI response: head, a heartbeat at once, then one chunk per record.

    See spec/sdk-wire#stream-head, spec/sdk-wire#stream-framing.
    """

    def __init__(self, streams: Streams, settings: Settings, stream: Stream) -> None:
        self._streams = streams
        self._settings = settings
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the stream until it is ended or its client disconnects."""
        self._stream.connection = connection_of(scope)
        self._streams.add(self._stream)
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._until_client_leaves(receive))
                await self._send_records(send)
                watch.cancel()
        finally:
            self._streams.discard(self._stream)

    async def _until_client_leaves(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._stream.put(None)

    async def _send_records(self, send: Send) -> None:
        started = False
        record: bytes | None = HEARTBEAT
        while record is not None:
            if not self._streams.is_muted(self._stream.environment):
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": list(_HEAD)})
                    started = True
                await send({"type": "http.response.body", "body": record, "more_body": True})
            record = await self._stream.next(self._settings.heartbeat_seconds)
        if started:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            self._stream.reset()
