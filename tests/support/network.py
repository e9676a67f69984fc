"""The network seam as production makes it, and small servers on loopback for it to meet."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache

import httpx2

from ff_proxy.tls.trust import client_trust
from ff_proxy.upstream.http import HttpTransport
from ff_proxy.upstream.outbound_proxy import outbound_proxies

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def make_transport(agent: str = "test", backend: httpx2.AsyncBaseTransport | None = None) -> HttpTransport:
    """To be opened; ``backend`` stands in for sockets."""
    variables = [(name, os.environ[name]) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ]
    trust = _trust(tuple(variables))
    return HttpTransport(agent, trust, outbound_proxies(os.environ)[0], backend)


@cache
def _trust(environ: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    """Loading the certificates of the system takes 75 ms of CPU."""
    return client_trust(dict(environ)).context


@asynccontextmanager
async def server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback; yields its port."""
    talks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            talks.discard(task)
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in talks:
            task.cancel()
        await listening.wait_closed()


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One good answer."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    await writer.drain()


class ForwardProxy:
    """An outbound proxy: tunnels CONNECT and notes where to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.heads: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        _, target, _ = head.split("\r\n")[0].split(" ")
        self.asked.append(target)
        if not head.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nproxied")
            await writer.drain()
            return
        host, _, port = target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pipe(reader, far_writer))
                tasks.create_task(self._pipe(far_reader, writer))
        finally:
            far_writer.close()

    @staticmethod
    async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
