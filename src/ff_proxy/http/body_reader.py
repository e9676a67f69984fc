"""A body between the connection that it arrives on and the handler that reads it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, final

from ff_proxy.http.body import BodyIncomplete, BodyTooLarge
from ff_proxy.http.content_coding import Decoder, Identity, decoder

_ENOUGH: Final = 48 * 1024
"""Bytes that wait for a handler; then nothing more is read for it."""

_PIECE_OVERHEAD: Final = 64


@final
class ArrivingBody:
    """See ``body.Body``, for what handlers see of it.

    The connection calls ``feed``, ``end`` and ``fail``, and asks whether it is ``full``. Before the first
    of the handler's calls ``open`` says what the route allows.

    Args:
        declared: the length that the client announced, if it did; it can be read, too.
        coding: the value of ``Content-Encoding``.
        expects: the client waits to be told to go on.

    Attributes:
        received: bytes that came.
        ended: everything came.
        expects: the client waits to be told to go on, and has not been.
        wanted: somebody still wants to read it.
        abandoned: so much came that nobody wants that the rest is not worth reading off.
    """

    __slots__ = (
        "_coding",
        "_decoder",
        "_failed",
        "_go_on",
        "_kept",
        "_limit",
        "_pieces",
        "_read_off",
        "_waiter",
        "_waiting",
        "abandoned",
        "declared",
        "ended",
        "expects",
        "received",
        "wanted",
    )

    def __init__(self, declared: int | None, coding: bytes | None, *, expects: bool) -> None:
        self.declared: Final = declared
        self._coding: Final = coding
        self._decoder: Decoder = Identity()
        self._pieces: Final[deque[bytes]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._failed = False
        self._limit = 0
        self._read_off = 0
        self._go_on: Callable[[], None] = _nobody
        self._waiting = 0
        self._kept = 0
        self.received = 0
        self.ended = False
        self.expects = expects
        self.wanted = True
        self.abandoned = False

    # --- what the connection calls

    def open(self, limit: int, read_off: int, go_on: Callable[[], None]) -> None:
        """A route has been found.

        Args:
            limit: the longest body in bytes, once decoded.
            read_off: bytes of an unwanted body to be read all the same.
            go_on: called when more of it may come; it sends ``100 Continue`` if ``expects``.
        """
        self._limit = limit
        self._read_off = read_off
        self._go_on = go_on

    @property
    def held(self) -> int:
        """Bytes that are in memory for it."""
        return self._waiting + self._kept

    @property
    def full(self) -> bool:
        """So much waits for the handler that nothing more should be read for now."""
        return self._waiting >= _ENOUGH

    def feed(self, data: bytes) -> None:
        """More has come."""
        self.received += len(data)
        if self.wanted:
            self._pieces.append(data)
            self._waiting += len(data) + _PIECE_OVERHEAD
        elif self.received > self._read_off:
            self.abandoned = True
        else:
            return
        self._wake()

    def end(self) -> None:
        """All has come."""
        self.ended = True
        self._wake()

    def fail(self) -> None:
        """The rest will not come."""
        if not self.ended:
            self._failed = True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what handlers call

    @property
    def whole(self) -> bytes | None:
        """See ``Body``."""
        if not self.ended or self._coding is not None or self.received > self._limit or not self.wanted:
            return None
        return b"".join(self._pieces)

    def pieces(self) -> AsyncIterator[bytes]:
        """See ``Body``."""
        return _Pieces(self)

    async def read(self) -> bytes:
        """See ``Body``."""
        content = bytearray()
        try:
            async for piece in self.pieces():
                content += piece
                self._kept = len(content)
        except BodyTooLarge:
            content.clear()
            await self.discard()
            raise
        finally:
            self._kept = 0
        return bytes(content)

    async def discard(self) -> None:
        """See ``Body``."""
        self.drop()
        if self.declared is not None and self.declared > self._read_off:
            self.abandoned = True
        if self.expects:
            return
        while not (self.ended or self._failed or self.abandoned):
            await self._more()

    def drop(self) -> None:
        """Forget what is here, and what comes."""
        self.wanted = False
        self._pieces.clear()
        self._waiting = self._kept = 0
        self._go_on()

    def begin(self) -> None:
        """Raise what is wrong before anything is read."""
        if self.declared is not None and self.declared > self._limit and self._coding is None:
            raise BodyTooLarge
        self._decoder = decoder(self._coding)

    def decoded(self, data: bytes, before: int) -> Iterator[bytes]:
        """``data`` decoded, of which ``before`` bytes came earlier."""
        for piece in self._decoder.decode(data):
            before += len(piece)
            if before > self._limit:
                raise BodyTooLarge
            yield piece

    async def next_sent(self) -> bytes | None:
        """The next bytes as they were sent; ``None`` at the end."""
        while not self._pieces:
            if self._failed or self.abandoned or not self.wanted:
                raise BodyIncomplete
            if self.ended:
                self._decoder.finish()
                return None
            await self._more()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        return data

    async def _more(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self._go_on()
        try:
            await self._waiter
        finally:
            self._waiter = None


class _Pieces:
    def __init__(self, body: ArrivingBody) -> None:
        self._body: Final = body
        self._begun = False
        self._given = 0
        self._decoded: Iterator[bytes] = iter(())

    def __aiter__(self) -> "_Pieces":
        return self

    async def __anext__(self) -> bytes:
        if not self._begun:
            self._begun = True
            self._body.begin()
        elif self._given:
            await asyncio.sleep(0)
        while True:
            for piece in self._decoded:
                self._given += len(piece)
                return piece
            sent = await self._body.next_sent()
            if sent is None:
                raise StopAsyncIteration
            self._decoded = self._body.decoded(sent, self._given)


def _nobody() -> None:
    """No route has been found yet."""
