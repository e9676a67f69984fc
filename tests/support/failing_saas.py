"""What stands between one member and Harness, and fails for that member alone in the way a test chooses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Final, Self

from tests.support.resets import reset

_BYTES: Final = 65536


class Failure(StrEnum):
    """What becomes of requests."""

    NONE = "none"
    RESET = "reset"
    FORBIDDEN = "403"
    UNAVAILABLE = "503"
    HTML = "HTML"
    """A login page of somebody in between, with status 200."""
    HANG = "HTTP hang"
    """Requests are taken, and never answered."""
    BLACK_HOLE = "black hole"
    """Open connections stay open, and nothing passes any more in either direction."""
    FETCHES = "fetches only"
    """Streams live, everything else is 503."""


class FailingSaas:
    """Passes each request on, on a connection of its own, until it fails."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.failure = Failure.NONE
        self._target = target
        self._streams: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, target: int) -> AsyncIterator[Self]:
        """In front of a port of loopback."""
        one = cls(target)
        server = await asyncio.start_server(one._begin, "127.0.0.1", 0)
        one.port = server.sockets[0].getsockname()[1]
        try:
            yield one
        finally:
            server.close()
            for task in one._tasks:
                task.cancel()
            await asyncio.gather(*one._tasks, return_exceptions=True)

    def fail(self, failure: Failure) -> None:
        """From now on; open streams are reset unless the failure leaves them alone."""
        self.failure = failure
        if failure not in {Failure.BLACK_HOLE, Failure.FETCHES}:
            for writer in tuple(self._streams):
                reset(writer)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._accept(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head, reader, writer)
        finally:
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams = b"/stream" in head.partition(b"\r\n")[0]
        failure = self.failure
        if failure is Failure.RESET:
            reset(writer)
        elif failure in {Failure.HANG, Failure.BLACK_HOLE}:
            await asyncio.Event().wait()
        elif failure is Failure.HTML:
            _respond(writer, "200 OK", "text/html", b"<html>Please log in</html>")
        elif failure in {Failure.FORBIDDEN, Failure.UNAVAILABLE} or (
            failure is Failure.FETCHES and not streams
        ):
            status = "403 Forbidden" if failure is Failure.FORBIDDEN else "503 Service Unavailable"
            _respond(writer, status, "application/json", b"{}")
        else:
            await self._pass_on(head, reader, writer)

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        length = int(lengths[0].split(b":")[1]) if lengths else 0
        body = await reader.readexactly(length)
        lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._streams.add(writer)
        try:
            far_writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
            while data := await far_reader.read(_BYTES):
                if self.failure is Failure.BLACK_HOLE:
                    await asyncio.Event().wait()
                writer.write(data)
                await writer.drain()
        finally:
            self._streams.discard(writer)
            far_writer.close()


def _respond(writer: asyncio.StreamWriter, status: str, kind: str, body: bytes) -> None:
    fields = [f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
    writer.write("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode() + body)
