"""A server with routes of a test's own, and a connection to it that is spoken to in bytes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import msgspec

from ff_proxy.http.buffer_budget import BufferBudget
from ff_proxy.http.cors import Cors
from ff_proxy.http.dispatcher import Dispatcher
from ff_proxy.http.limits import Limits
from ff_proxy.http.observer import NullObserver, Observer
from ff_proxy.http.response_cache import ResponseCache
from ff_proxy.http.routes import Route, Routes
from ff_proxy.http.server import HttpServer
from ff_proxy.http.server_state import ServerState
from ff_proxy.http.sockets import bind
from ff_proxy.http.tls import Tls
from ff_proxy.model.clock import Clock
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.telemetry import null_telemetry
from tests.support.resets import reset

HOST = "127.0.0.1"
MEBIBYTE = 1024 * 1024


class Response(msgspec.Struct, frozen=True):
    """A response as it came over the wire; ``raw`` is all of it, names in ``fields`` as they were written."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes

    def field(self, name: str) -> str | None:
        """The values of a header field (named in lower case), joined, or ``None``."""
        values = [value for held, value in self.fields if held.lower() == name]
        return ", ".join(values) if values else None

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    @property
    def undated(self) -> bytes:
        """``raw`` without its date."""
        lines = self.raw.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(b"Date: "))


class Wire:
    """One connection, spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def stop_reading(self) -> None:
        """Let the other side's bytes pile up."""
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        """Take them again."""
        self._transport.resume_reading()

    def reset(self) -> None:
        """Leave at once: the connection is reset, and not just ended."""
        reset(self.writer)

    @property
    def _transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self.writer.transport)

    async def response(self, *, head: bool = False) -> Response:
        """The next response; ``head`` says that it has no body whatever its length."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        fields = tuple((name, value) for name, _, value in (text.partition(": ") for text in lines))
        status = int(line.split(" ")[1])
        lengths = [value for name, value in fields if name.lower() == "content-length"]
        body = b""
        if lengths and not head and status != 304:
            body = await self.reader.readexactly(int(lengths[0]))
        return Response(status, fields, body, raw + body)

    async def chunk(self) -> bytes:
        """The next chunk of a response that has begun."""
        size = int((await self.reader.readline()).strip(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def closed(self) -> bytes:
        """Whatever comes until the other side closes, or resets the connection."""
        received = b""
        with suppress(ConnectionResetError):
            while part := await self.reader.read(65536):
                received += part
        return received

    async def ended(self) -> bytes:
        """Whatever comes until the other side closes, which must not be by a reset."""
        received = b""
        while part := await self.reader.read(65536):
            received += part
        return received


@asynccontextmanager
async def connected_to(port: int, *, host: str = HOST, secure: Any = None) -> AsyncIterator[Wire]:
    """A connection."""
    reader, writer = await asyncio.open_connection(host, port, ssl=secure)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def make_server(
    routes: Sequence[Route],
    *,
    clock: Clock | None = None,
    limits: Limits | None = None,
    cors: Cors | None = None,
    observer: Observer | None = None,
    bodies: int = 64 * MEBIBYTE,
    unsent: int = 64 * MEBIBYTE,
    cache: int = MEBIBYTE,
    prefixes: Sequence[str] = (),
    tls: Tls | None = None,
    host: str = HOST,
) -> HttpServer:
    """A server for ``routes`` on a port of its own, not started."""
    telemetry, time = null_telemetry(), clock or SystemClock()
    dispatcher = Dispatcher(
        Routes(routes, prefixes),
        ResponseCache(cache),
        cors or Cors(),
        observer or NullObserver(),
        time,
        telemetry,
        budget=MEBIBYTE,
    )
    state = ServerState(
        dispatcher,
        limits or Limits(connections=10_000),
        BufferBudget(bodies),
        BufferBudget(unsent),
        time,
        telemetry,
    )
    return HttpServer(state, bind(0, host), time, telemetry, tls=tls)


@asynccontextmanager
async def running_server(server: HttpServer) -> AsyncIterator[HttpServer]:
    """``server`` runs for as long as the context lasts."""
    await server.start()
    task = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that a server does in its own time."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (what happens behind a socket sets no event)
            await asyncio.sleep(0.01)
