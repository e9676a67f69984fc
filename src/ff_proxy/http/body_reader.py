"""Buffers a request body between the connection that receives it and the handler that reads it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, final

from ff_proxy.http.body import BodyIncomplete, BodyTooLarge
from ff_proxy.http.content_coding import Decoder, Identity, decoder

_HIGH_WATER: Final = 48 * 1024
"""Bytes buffered for the handler at which the connection stops reading."""

_PIECE_OVERHEAD: Final = 64


@final
class ArrivingBody:
    """A body that is still being received; handlers use it as a ``body.Body``.

    The connection calls ``feed``, ``end`` and ``fail``, and checks ``full``. It calls ``open`` with the
    route's limits before the handler reads.

    Args:
        declared: the ``Content-Length``, or ``None`` if the body is chunked; also an attribute.
        coding: the value of ``Content-Encoding``.
        expects: the client sent ``Expect: 100-continue``.

    Attributes:
        cuts: how often it was cut at bytes that looked like its end.
        received: bytes received so far.
        ended: the whole body has arrived.
        expects: the client still waits for ``100 Continue``.
        wanted: the handler has not dropped the body.
        abandoned: the rest of a dropped body is too long to read and discard.
    """

    __slots__ = (
        "_coding",
        "_decoder",
        "_discard_limit",
        "_failed",
        "_kept",
        "_limit",
        "_pieces",
        "_resume",
        "_waiter",
        "_waiting",
        "abandoned",
        "cuts",
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
        self._discard_limit = 0
        self._resume: Callable[[], None] = _no_op
        self._waiting = 0
        self._kept = 0
        self.cuts = 0
        self.received = 0
        self.ended = False
        self.expects = expects
        self.wanted = True
        self.abandoned = False

    # --- what the connection calls

    def open(self, limit: int, discard_limit: int, resume: Callable[[], None]) -> None:
        """Set the limits of the route.

        Args:
            limit: the longest body in bytes, after decoding.
            discard_limit: bytes of a dropped body to read before giving up.
            resume: called when the connection may read more; it sends ``100 Continue`` if ``expects``.
        """
        self._limit = limit
        self._discard_limit = discard_limit
        self._resume = resume

    @property
    def held(self) -> int:
        """Bytes of this body in memory."""
        return self._waiting + self._kept

    @property
    def full(self) -> bool:
        """Whether so much is buffered that the connection should stop reading for now."""
        return self._waiting >= _HIGH_WATER

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self.received += len(data)
        if self.wanted:
            self._pieces.append(data)
            self._waiting += len(data) + _PIECE_OVERHEAD
        elif self.received > self._discard_limit:
            self.abandoned = True
        else:
            return
        self._wake()

    def end(self) -> None:
        """The whole body has arrived."""
        self.ended = True
        self._wake()

    def fail(self) -> None:
        """The rest of the body will not arrive."""
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
        if self.declared is not None and self.declared > self._discard_limit:
            self.abandoned = True
        if self.expects:
            return
        while not (self.ended or self._failed or self.abandoned):
            await self._more()

    def drop(self) -> None:
        """Drop what is buffered and what is still to arrive."""
        self.wanted = False
        self._pieces.clear()
        self._waiting = self._kept = 0
        self._resume()

    def begin(self) -> None:
        """Check length and encoding before the first read; raises ``RequestError``."""
        if self.declared is not None and self.declared > self._limit and self._coding is None:
            raise BodyTooLarge
        self._decoder = decoder(self._coding)

    def decoded(self, data: bytes, before: int) -> Iterator[bytes]:
        """Decode ``data``; ``before`` is the number of bytes decoded earlier. Raises ``BodyTooLarge``."""
        for piece in self._decoder.decode(data):
            before += len(piece)
            if before > self._limit:
                raise BodyTooLarge
            yield piece

    async def next_sent(self) -> bytes | None:
        """The next bytes, still encoded; ``None`` at the end."""
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
        self._resume()
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


def _no_op() -> None:
    """Used until ``open`` is called."""
