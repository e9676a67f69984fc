"""Doubles around the hub: a registry of snapshots without a store, a transport without a socket, a client."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from ff_proxy.model.environment import EnvironmentConfig, Item, Revision
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.snapshots.registry import Announcement, Listener
from ff_proxy.snapshots.snapshot import CompileOptions, Snapshot
from ff_proxy.streams.hub import Hub, StreamOpening
from tests.support.configs import ENVIRONMENT, config

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
HEARTBEAT = b"3\r\n:\n\n\r\n"
GOODBYE = b"0\r\n\r\n"


class FakeSnapshots:
    """Snapshots that a test swaps; announces the differences as the registry does."""

    def __init__(self) -> None:
        self._held: dict[EnvironmentId, Snapshot] = {}
        self._listeners: list[Listener] = []

    def get(self, environment: EnvironmentId) -> Snapshot | None:
        return self._held.get(environment)

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def put(self, config: EnvironmentConfig) -> Snapshot:
        """Swap in ``config`` and announce it."""
        previous = self._held.get(config.id)
        counter = 1 if previous is None else previous.revision.counter + 1
        numbered = msgspec.structs.replace(config, revision=Revision("test", counter))
        snapshot = Snapshot(numbered, CompileOptions(), previous=previous)
        self._held[config.id] = snapshot
        changes = () if previous is None else snapshot.changes_since(previous)
        revoked = frozenset[SdkKeyHash]() if previous is None else previous.keys - snapshot.keys
        self._announce(Announcement(config.id, snapshot, previous, changes, revoked))
        return snapshot

    def remove(self, environment: EnvironmentId) -> None:
        """Take the environment away and announce that."""
        previous = self._held.pop(environment)
        self._announce(Announcement(environment, None, previous, (), previous.keys))

    def _announce(self, announcement: Announcement) -> None:
        for listener in self._listeners:
            listener(announcement)


def fake_snapshots(*items: Item) -> FakeSnapshots:
    """Snapshots of one environment that holds ``items``."""
    snapshots = FakeSnapshots()
    snapshots.put(config(*items))
    return snapshots


class FakeTransport(asyncio.Transport):
    """Keeps every write; while ``blocked`` nothing leaves its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.blocked = False
        self._ending = ""
        self._buffer = b""
        self._protocol: asyncio.Protocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (0, 0)

    def is_reading(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._buffer or data == GOODBYE, "written to before the last write had left"
        self.writes.append(bytes(data))
        if self.blocked:
            self._buffer += data
            self._told.pause_writing()

    def unblock(self) -> None:
        """Let what is buffered leave."""
        self.blocked = False
        self._buffer = b""
        self._told.resume_writing()

    def close(self) -> None:
        self._close("closed")

    def abort(self) -> None:
        self._close("aborted")

    def leave(self, exc: Exception | None = None) -> None:
        """The client goes."""
        self._close("left", exc)

    def ended(self) -> str:
        """How the transport was closed: closed, aborted or left; empty while it is open."""
        return self._ending

    @property
    def events(self) -> list[tuple[str, str, int]]:
        """(event, identifier, version) of every event written so far."""
        return [
            (event["event"], event["identifier"], event["version"])
            for event in map(read_record, records(b"".join(self.writes[1:])))
            if event is not None
        ]

    @property
    def _told(self) -> asyncio.Protocol:
        assert self._protocol is not None
        return self._protocol

    def _close(self, how: str, exc: Exception | None = None) -> None:
        if not self._ending and not (how == "closed" and self._buffer):
            self._ending = how
            self._told.connection_lost(exc)


def records(body: bytes) -> list[bytes]:
    """The chunks of a chunked body, which must be whole; the terminating one is left out."""
    found = []
    while body and body != GOODBYE:
        size, rest = body.split(b"\r\n", 1)
        length = int(size, 16)
        assert len(rest) >= length + 2, body
        assert rest[length : length + 2] == b"\r\n"
        found.append(rest[:length])
        body = rest[length + 2 :]
    return found


def read_record(record: bytes) -> Any:
    """An event's payload; ``None`` for a heartbeat."""
    if record == b":\n\n":
        return None
    match = re.fullmatch(rb"event: \*\ndata: (.*)\n\n", record)
    assert match, record
    return json.loads(match[1])


@dataclass
class Opened:
    """What became of a stream that a test opened on a fake transport."""

    transport: FakeTransport = field(default_factory=FakeTransport)
    closings: int = 0

    def closed(self) -> None:
        self.closings += 1


def open_fake(
    hub: Hub,
    environment: EnvironmentId = ENVIRONMENT,
    *,
    key: SdkKeyHash | None = None,
    token: bytes = b"",
    issued_at: float | None = None,
    client: bool = False,
    blocked: bool = False,
) -> Opened:
    """Open a stream on a fake transport."""
    opened = Opened()
    opened.transport.blocked = blocked
    opening = StreamOpening(environment, key, token, issued_at, client=client)
    hub.open_transport(opened.transport, opening, HEAD, opened.closed)
    return opened


@asynccontextmanager
async def running(*coroutines: Callable[[], Any]) -> AsyncIterator[None]:
    """Run services around a block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine()) for coroutine in coroutines]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


class StreamClient:
    """A client that sees every byte: chunks as they arrive, and when."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def head(self) -> bytes:
        """The response head."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def record(self) -> bytes:
        """The next chunk; empty for the terminating one."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        assert data[-2:] == b"\r\n"
        return data[:-2]

    async def event(self) -> Any:
        """The next event's payload; heartbeats are passed over."""
        while (event := read_record(await self.record())) is None:
            pass
        return event
