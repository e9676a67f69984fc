"""The metrics on a separate port (option ``prometheus-port``), served by the process's event loop.

Clients of the port have limits: a few connections, a deadline in every state, and one exposition at a time.
"""

import asyncio
import gzip
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, cast

import httptools

from ff_proxy.model.clock import Clock
from ff_proxy.telemetry.exposition import CONTENT_TYPE
from ff_proxy.telemetry.logs import OnceLog

_CONNECTIONS: Final = 16
_BACKLOG: Final = 128
_HEAD_BYTES: Final = 16 * 1024
# From the start of a connection, or the first byte of a request, to the end of the request's head.
_HEAD_SECONDS: Final = 10.0
# Scrapes arrive every minute or so, on the same connection.
_IDLE_SECONDS: Final = 130.0
# For rendering the exposition and for reading it.
_ANSWER_SECONDS: Final = 30.0
_EVERY: Final = 1.0
_PATHS: Final = frozenset({b"/metrics", b"/"})
_GZIP_LEVEL: Final = 1

_FULL: Final = "all connections of prometheus-port are in use, closing the one that was idle longest"
_FAILED: Final = "the metrics cannot be rendered"


class MetricsServer:
    """The service that serves ``exposition`` on ``listening``.

    Args:
        exposition: renders the Prometheus text; called in a thread.
        listening: a bound socket, which stays open when the service ends, for a restart.
        clock: measures deadlines.
        once: logs that all connections are in use, and figures that cannot be rendered.
        connections: the maximum number.
    """

    name = "metrics"

    def __init__(
        self,
        exposition: Callable[[], bytes],
        listening: socket.socket,
        clock: Clock,
        once: OnceLog,
        *,
        connections: int = _CONNECTIONS,
    ) -> None:
        self.ready = asyncio.Event()
        self._exposition = exposition
        self._listening = listening
        self._clock = clock
        self._once = once
        self._most = connections
        self._connections: dict[_Connection, None] = {}
        self._making: asyncio.Task[bytes] | None = None

    async def run(self) -> None:
        """Serve until cancelled."""
        server = await asyncio.get_running_loop().create_server(
            partial(_Connection, self), sock=self._listening.dup(), backlog=_BACKLOG
        )
        self.ready.set()
        try:
            while True:
                await self._clock.sleep(_EVERY)
                now = self._clock.monotonic()
                for connection in tuple(self._connections):
                    connection.check(now)
        finally:
            server.close()
            for connection in tuple(self._connections):
                connection.abort()
            if self._making is not None:
                self._making.cancel()

    def now(self) -> float:
        """Seconds of the clock that deadlines are measured by."""
        return self._clock.monotonic()

    def admit(self, connection: "_Connection") -> bool:
        """Add a connection, replacing an idle one if necessary; ``False`` if there is no room."""
        if len(self._connections) >= self._most:
            self._once.warning(_FULL, connections=self._most)
            idle = next((one for one in self._connections if one.idle), None)
            if idle is None:
                return False
            idle.abort()
            self.forget(idle)
        self._connections[connection] = None
        return True

    def used(self, connection: "_Connection") -> None:
        """A connection has become idle: the others have been so for longer."""
        if connection in self._connections:
            del self._connections[connection]
            self._connections[connection] = None

    def forget(self, connection: "_Connection") -> None:
        """Remove a connection."""
        self._connections.pop(connection, None)

    def text(self) -> asyncio.Task[bytes]:
        """Render the exposition; concurrent callers share one."""
        if self._making is None or self._making.done():
            # A thousand environments take a second, so render in a thread.
            self._making = asyncio.create_task(asyncio.to_thread(self._exposition))
            self._making.add_done_callback(self._made)
        return self._making

    def _made(self, making: asyncio.Task[bytes]) -> None:
        if not making.cancelled() and (error := making.exception()) is not None:
            self._once.warning(_FAILED, error=repr(error))


class _Connection(asyncio.Protocol):
    """One connection: llhttp parses its requests, one after the other."""

    def __init__(self, server: MetricsServer) -> None:
        self._server = server
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._received = 0
        self._url = b""
        self._gzip = False
        self._answering: asyncio.Task[None] | None = None
        self._deadline = server.now() + _HEAD_SECONDS
        self._stalled = False
        self.idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        if not self._server.admit(self):
            self._refuse(b"503 Service Unavailable")

    def connection_lost(self, _: Exception | None) -> None:
        self._server.forget(self)
        if self._answering is not None:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        if self.idle or self._stalled:
            self.idle = self._stalled = False
            self._deadline = self._server.now() + _HEAD_SECONDS
        self._received += len(data)
        if self._received > _HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(b"400 Bad Request")

    # Callbacks of llhttp; their exceptions come out of ``feed_data``.

    def on_message_begin(self) -> None:
        if self._answering is not None:
            raise _PipelinedError
        self._url, self._gzip = b"", False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"accept-encoding":
            self._gzip = b"gzip" in value.lower()

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        keep = self._parser.should_keep_alive()
        if method not in {b"GET", b"HEAD"}:
            self._refuse(b"405 Method Not Allowed")
        elif self._url.partition(b"?")[0] not in _PATHS:
            self._transport.write(_head(b"404 Not Found", 0, keep=keep))
            self._done(keep)
        else:
            self._transport.pause_reading()
            self._deadline = self._server.now() + _ANSWER_SECONDS
            answering = self._answer(keep=keep, whole=method == b"GET", packed=self._gzip)
            self._answering = asyncio.get_running_loop().create_task(answering)

    async def _answer(self, *, keep: bool, whole: bool, packed: bool) -> None:
        try:
            # Others wait for it too, so a closed connection must not cancel it.
            text = await asyncio.shield(self._server.text())
        except Exception:  # noqa: BLE001  (whatever a collector raises; the server has said it)
            self._refuse(b"500 Internal Server Error")
            return
        body = await asyncio.to_thread(gzip.compress, text, _GZIP_LEVEL) if packed else text
        self._transport.write(_head(b"200 OK", len(body), keep=keep, packed=packed))
        if whole:
            self._transport.write(body)
        self._answering = None
        self._transport.resume_reading()
        self._done(keep)

    def _done(self, keep: bool) -> None:
        self._received = 0
        self.idle = True
        self._deadline = self._server.now() + _IDLE_SECONDS
        self._server.used(self)
        if not keep:
            self._transport.close()

    def _refuse(self, status: bytes) -> None:
        self._transport.write(_head(status, 0, keep=False))
        self._transport.close()

    def check(self, now: float) -> None:
        """Close it after a deadline, also if it does not read its response."""
        waiting = self._transport.get_write_buffer_size() > 0
        if self.idle and waiting:
            self.idle = False
            self._stalled = True
            self._deadline = now + _ANSWER_SECONDS
        elif self._stalled and not waiting:
            self._stalled = False
            self.idle = True
            self._deadline = now + _IDLE_SECONDS
        if now > self._deadline:
            self.abort()

    def abort(self) -> None:
        """Close it at once."""
        self._transport.abort()


class _PipelinedError(httptools.HttpParserError):
    """A pipelined request arrived before the response to the first."""


def _head(status: bytes, length: int, *, keep: bool, packed: bool = False) -> bytes:
    lines = [
        b"HTTP/1.1 %b" % status,
        b"Content-Type: " + CONTENT_TYPE,
        b"Content-Length: %d" % length,
        b"Vary: Accept-Encoding",
        *([b"Content-Encoding: gzip"] if packed else []),
        *([] if keep else [b"Connection: close"]),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"
