"""A TCP proxy for tests, which delays, throttles, stalls, cuts and corrupts what it passes on."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Final, Self

import msgspec

from tests.support.resets import reset

_BYTES: Final = 65536
# A receiver that is slower than the sender must be felt by the sender, not by a buffer here.
_BUFFER: Final = 65536


class Accepting(StrEnum):
    """What becomes of a new connection."""

    PASS = "pass"
    REFUSE = "refuse"
    """Nobody listens."""
    RESET = "reset"
    """It is accepted and reset."""
    IGNORE = "ignore"
    """It is accepted, and nothing ever comes back."""


class Link(msgspec.Struct, frozen=True):
    """How bytes get through; by default all of them at once.

    Attributes:
        accepting: what becomes of new connections.
        delay: seconds by which each piece is late, in both directions.
        rate: bytes a second in each direction of a connection; 0: as fast as they come.
        stalled: nothing passes in either direction, and nobody is told: a half-open connection.
        silent: what clients send gets through, and the server's answers to it do not.
        corrupt: the share of pieces from the server in which one byte is another.
        cut_after: a connection is reset once the server has sent so many bytes on it; 0: never.
    """

    accepting: Accepting = Accepting.PASS
    delay: float = 0.0
    rate: int = 0
    stalled: bool = False
    silent: bool = False
    corrupt: float = 0.0
    cut_after: int = 0


WHOLE: Final = Link()
DOWN: Final = Link(accepting=Accepting.REFUSE)


class Relay:
    """Passes connections on to a server on loopback as its present ``Link`` says.

    Args:
        target: the server's port.
        seed: of what is corrupted.
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        self.port = 0
        self.link = WHOLE
        self._target = target
        self._chance = random.Random(seed)
        self._deaf = False
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._near: set[asyncio.StreamWriter] = set()
        self._far: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, target: int, seed: int = 0) -> AsyncIterator[Self]:
        """A relay to a port of loopback, which passes everything on until it is told otherwise."""
        relay = cls(target, seed)
        await relay._listen()
        try:
            yield relay
        finally:
            relay._stop_listening()
            relay.reset()
            for task in relay._tasks:
                task.cancel()
            await asyncio.gather(*relay._tasks, return_exceptions=True)

    async def set(self, link: Link) -> None:
        """From now on, for open connections and new ones."""
        self.link = link
        if link.accepting is Accepting.REFUSE:
            self._stop_listening()
        else:
            await self._listen()
        self._changed.set()
        self._changed = asyncio.Event()

    async def mend(self) -> None:
        """Pass everything on again."""
        self._deaf = False
        await self.set(WHOLE)

    async def cut(self) -> None:
        """Reset every connection, and each new one at once."""
        await self.set(Link(accepting=Accepting.RESET))
        self.reset()

    async def refuse(self) -> None:
        """Reset every connection, and listen no longer."""
        await self.set(DOWN)
        self.reset()

    def reset(self) -> None:
        """Reset every open connection, at both ends; new ones are as before."""
        for writer in self._near | self._far:
            reset(writer)

    def half_close(self) -> None:
        """End what the server sends on open connections, and leave the other direction as it is."""
        for writer in tuple(self._near):
            with suppress(OSError, RuntimeError):
                writer.write_eof()

    def lead_to(self, target: int) -> None:
        """New connections go to another port of loopback."""
        self._target = target

    def deafen(self) -> None:
        """From now on swallow what is published to Redis' subscribers; everything else goes through."""
        self._deaf = True

    @property
    def connections(self) -> int:
        """How many are open and passed on."""
        return len(self._near)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port, limit=_BUFFER)
            self.port = self._server.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._accept(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.link.accepting is Accepting.RESET:
                reset(writer)
            while self.link.accepting is Accepting.IGNORE:
                await self._changed.wait()
            if self.link.accepting is Accepting.PASS:
                await self._pass_on(reader, writer)
        except OSError:
            pass  # one of the ends is gone, and so is the connection between them
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target, limit=_BUFFER)
        self._near.add(writer)
        self._far.add(far_writer)
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
            self._near.discard(writer)
            self._far.discard(far_writer)
            far_writer.close()

    async def _upwards(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subscribed: asyncio.Event
    ) -> None:
        while data := await reader.read(_BYTES):
            if b"SUBSCRIBE" in data:
                subscribed.set()
            await self._pace(data)
            writer.write(data)
            await writer.drain()

    async def _downwards(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subscribed: asyncio.Event
    ) -> None:
        sent = 0
        while data := await reader.read(_BYTES):
            await self._pace(data)
            link = self.link
            if link.silent or (self._deaf and subscribed.is_set()):
                continue
            if link.cut_after and sent + len(data) >= link.cut_after:
                writer.write(data[: link.cut_after - sent])
                await writer.drain()
                reset(writer)
                return
            sent += len(data)
            writer.write(self._corrupted(data) if self._chance.random() < link.corrupt else data)
            await writer.drain()

    async def _pace(self, data: bytes) -> None:
        link = self.link
        late = link.delay + (len(data) / link.rate if link.rate else 0.0)
        if late:
            # A link that is mended lets go of what it holds.
            changed = self._changed
            with suppress(TimeoutError):
                async with asyncio.timeout(late):
                    await changed.wait()
        while self.link.stalled:
            await self._changed.wait()

    def _corrupted(self, data: bytes) -> bytes:
        place = self._chance.randrange(len(data))
        other = data[place] ^ self._chance.randrange(1, 256)
        return data[:place] + bytes([other]) + data[place + 1 :]
