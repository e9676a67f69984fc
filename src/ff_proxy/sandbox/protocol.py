"""HTTP/1.1 for the sandbox: an ASGI application on a connection, with field names as Go writes them.

Nothing of the proxy's own server is used, so that its mistakes show in tests, and no library's server,
since those write field names in lower case, which some SDKs cannot read (spec/sdk-wire#trap-46).
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import unquote

import httptools
from starlette.types import ASGIApp, Message, Scope

from ff_proxy.sandbox.connection import EXTENSION, Connection

_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_HIGH_WATER: Final = 4 * 1024 * 1024


class Connections:
    """The open connections, and the tasks that answer their requests."""

    def __init__(self) -> None:
        self.protocols: Final[set[Protocol]] = set()
        self.tasks: Final[set[asyncio.Task[None]]] = set()


class _Request:
    """One request as it arrives: its scope, and the messages that the application receives."""

    def __init__(self, scope: Scope, *, keep_alive: bool) -> None:
        self.scope: Final = scope
        self.keep_alive: Final = keep_alive
        self._messages: Final[deque[Message]] = deque()
        self._arrived: Final = asyncio.Event()
        self._gone = False

    def put(self, body: bytes, *, more: bool) -> None:
        self._messages.append({"type": "http.request", "body": body, "more_body": more})
        self._arrived.set()

    def leave(self) -> None:
        self._gone = True
        self._arrived.set()

    async def receive(self) -> Message:
        while not self._messages and not self._gone:
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages.popleft() if self._messages else {"type": "http.disconnect"}


class Protocol(asyncio.Protocol):
    """Answers the requests of one connection in turn."""

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self._app = app
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[_Request] = deque()
        self._arriving: _Request | None = None
        self._answering: _Request | None = None
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._drained = asyncio.Event()
        self._drained.set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._connections.protocols.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        del exc
        self._connections.protocols.discard(self)
        self._drained.set()
        for request in (self._arriving, self._answering, *self._waiting):
            if request is not None:
                request.leave()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._drained.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._drained.set()

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.transport.close()
        except httptools.HttpParserError:
            self.transport.write(_BAD_REQUEST)
            self.transport.close()

    def on_message_begin(self) -> None:
        """See httptools."""
        self._url = b""
        self._fields = []

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """See httptools."""
        raw_path, _, query = self._url.partition(b"?")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": unquote(raw_path.decode("ascii", "replace")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._fields,
            "client": self.transport.get_extra_info("peername"),
            "server": self.transport.get_extra_info("sockname"),
            "extensions": {EXTENSION: {"connection": Connection(self.transport)}},
        }
        self._arriving = _Request(scope, keep_alive=self._parser.should_keep_alive())
        if (b"expect", b"100-continue") in self._fields:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._waiting.append(self._arriving)
        self._answer_next()

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        if self._arriving is not None:
            self._arriving.put(body, more=True)

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._arriving is not None:
            self._arriving.put(b"", more=False)
            self._arriving = None

    def _answer_next(self) -> None:
        if self._answering is None and self._waiting and not self.transport.is_closing():
            self._answering = self._waiting.popleft()
            task = asyncio.get_running_loop().create_task(self._answer(self._answering))
            self._connections.tasks.add(task)
            task.add_done_callback(self._connections.tasks.discard)

    async def _answer(self, request: _Request) -> None:
        response = _Response(self, request)
        try:
            await self._app(request.scope, request.receive, response.send)
        finally:
            if not response.complete:
                self.transport.close()
            self._answering = None
            self._answer_next()

    async def write(self, data: bytes) -> None:
        """Send ``data``, and wait while the client is behind."""
        if not self.transport.is_closing():
            self.transport.write(data)
            await self._drained.wait()


class _Response:
    """Writes what the application sends as one HTTP response."""

    def __init__(self, protocol: Protocol, request: _Request) -> None:
        self._protocol = protocol
        self._request = request
        self._chunked = False
        self._close = not request.keep_alive
        self._empty = request.scope["method"] == "HEAD"
        self.complete = False

    async def send(self, message: Message) -> None:
        """See ASGI."""
        if message["type"] == "http.response.start":
            await self._start(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            await self._body(message.get("body", b""), more=message.get("more_body", False))

    async def _start(self, status: int, fields: Iterable[tuple[bytes, bytes]]) -> None:
        given = [(name.lower(), value) for name, value in fields]
        names = {name for name, _ in given}
        self._empty = self._empty or status in {204, 304}
        self._chunked = not self._empty and b"content-length" not in names
        self._close = self._close or (b"connection", b"close") in given
        lines = [b"HTTP/1.1 %d %s" % (status, _REASONS.get(status, b""))]
        lines += [_as_go_writes(name) + b": " + value for name, value in given]
        lines.append(b"Date: " + formatdate(usegmt=True).encode())
        if self._chunked:
            lines.append(b"Transfer-Encoding: chunked")
        if self._close and b"connection" not in names:
            lines.append(b"Connection: close")
        await self._protocol.write(b"\r\n".join(lines) + b"\r\n\r\n")

    async def _body(self, body: bytes, *, more: bool) -> None:
        if body and not self._empty:
            await self._protocol.write(b"%x\r\n%s\r\n" % (len(body), body) if self._chunked else body)
        if not more:
            if self._chunked:
                await self._protocol.write(b"0\r\n\r\n")
            self.complete = True
            if self._close:
                self._protocol.transport.close()


def _as_go_writes(name: bytes) -> bytes:
    return b"-".join(part.capitalize() for part in name.split(b"-"))
