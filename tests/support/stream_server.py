"""The hub behind a real socket, without the rest of the edge: any request opens a stream."""

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.streams.hub import Hub, StreamOpening
from ff_proxy.streams.list_reads import ListReads
from ff_proxy.streams.sender import Intervals
from ff_proxy.telemetry import Telemetry, null_telemetry
from tests.support.configs import ENVIRONMENT
from tests.support.streams import HEAD, FakeSnapshots, StreamClient, running


class _Door(asyncio.Protocol):
    """Reads ``<environment> <key hash or ->`` and a line end, and hands the connection to the hub."""

    def __init__(self, server: "StreamServer") -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        environment, key = data.decode().strip().split(" ")
        self._server.hub.open_transport(
            self._transport,
            StreamOpening(EnvironmentId(environment), None if key == "-" else SdkKeyHash(key)),
            HEAD,
            self._server.count_closing,
        )


class StreamServer:
    """A hub that listens on loopback.

    Attributes:
        closings: how many streams have been reported as closed.
        send_buffer: bytes of the kernel's buffer for each stream, if a test wants it small.
    """

    def __init__(
        self, hub: Hub, snapshots: FakeSnapshots, telemetry: Telemetry, secure: ssl.SSLContext | None
    ) -> None:
        self.hub = hub
        self.snapshots = snapshots
        self.telemetry = telemetry
        self.closings = 0
        self.port = 0
        self._secure = secure
        self._trust: ssl.SSLContext | None = None

    def count_closing(self) -> None:
        """A stream's connection is gone."""
        self.closings += 1

    def trust(self, context: ssl.SSLContext) -> None:
        """Have clients speak TLS."""
        self._trust = context

    @asynccontextmanager
    async def listening(self, send_buffer: int = 0) -> AsyncIterator[None]:
        """Accept connections; accepted sockets inherit ``send_buffer``."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        if send_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Door(self), sock=listener, ssl=self._secure)
        async with server:
            yield

    async def connect(
        self,
        environment: EnvironmentId = ENVIRONMENT,
        key: SdkKeyHash | None = None,
        *,
        receive_buffer: int = 0,
    ) -> StreamClient:
        """Open a stream; the response has not been read yet."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        name = "127.0.0.1" if self._trust else None
        # A small limit, so that what is not read stays in the kernel.
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=self._trust, server_hostname=name, limit=2048
        )
        writer.write(f"{environment} {key or '-'}\n".encode())
        return StreamClient(reader, writer)


@asynccontextmanager
async def stream_server(
    snapshots: FakeSnapshots,
    pace: Intervals = Intervals(),  # noqa: B008  (frozen)
    *,
    secure: ssl.SSLContext | None = None,
    send_buffer: int = 0,
) -> AsyncIterator[StreamServer]:
    """A running hub on a port of its own."""
    telemetry = null_telemetry()
    hub = Hub(snapshots, ListReads(100_000), SystemClock(), telemetry, random.Random(7), pace)
    server = StreamServer(hub, snapshots, telemetry, secure)
    async with running(hub.run), server.listening(send_buffer):
        yield server
