"""A wire that a test can cut: TCP connections passed on to a server on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

_BYTES: Final = 65536


class Relay:
    """Passes on what comes to ``port``; see ``cut``, ``mend`` and ``deafen``."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._whole = True
        self._deaf = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, target: int) -> AsyncIterator[Self]:
        """A whole wire to a port of loopback."""
        relay = cls(target)
        server = await asyncio.start_server(relay._accept, "127.0.0.1", 0)
        relay.port = server.sockets[0].getsockname()[1]
        try:
            yield relay
        finally:
            server.close()
            relay.cut()
            for task in relay._tasks:
                task.cancel()
            await asyncio.gather(*relay._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection, and each new one at once."""
        self._whole = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Pass everything on again."""
        self._whole, self._deaf = True, False

    def deafen(self) -> None:
        """From now on swallow what is published to subscribers; everything else goes through."""
        self._deaf = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._whole:
                await self._pass_on(reader, writer)
        except OSError:
            pass  # one of the ends is gone, and so is the wire between them
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, far_writer}
        self._writers |= ends
        subscribed = asyncio.Event()
        ways = [
            asyncio.create_task(self._upwards(reader, far_writer, subscribed)),
            asyncio.create_task(self._downwards(far_reader, writer, subscribed)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._writers -= ends
            far_writer.close()

    @staticmethod
    async def _upwards(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subscribed: asyncio.Event
    ) -> None:
        while data := await reader.read(_BYTES):
            if b"SUBSCRIBE" in data:
                subscribed.set()
            writer.write(data)
            await writer.drain()

    async def _downwards(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subscribed: asyncio.Event
    ) -> None:
        while data := await reader.read(_BYTES):
            if not (self._deaf and subscribed.is_set()):
                writer.write(data)
                await writer.drain()
