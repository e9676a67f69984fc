"""Writes responses to a client as fast as it reads them."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final, final

from ff_proxy.http.buffer_budget import BufferBudget, Hold
from ff_proxy.http.response import Response
from ff_proxy.http.response_cache import Entry

_WRITE: Final = 256 * 1024
"""Bytes of a body handed to the transport at a time."""


@final
class Outgoing:
    """Writes to a transport, large bodies in pieces; unsent bytes are charged to a budget.

    Args:
        transport: the connection.
        unsent: the budget for unsent bytes.
        peer: the client's address.

    Attributes:
        write: the transport's ``write``, for small data.
        paused: the transport's buffer is full.
    """

    __slots__ = (
        "_body",
        "_hold",
        "_moved",
        "_peer",
        "_shared",
        "_size",
        "_transport",
        "_unsent",
        "paused",
        "write",
    )

    def __init__(self, transport: asyncio.Transport, unsent: BufferBudget, peer: str) -> None:
        self._transport: Final = transport
        self._unsent: Final = unsent
        self._peer: Final = peer
        self._body: memoryview | None = None
        self._shared = False
        self._hold: Hold | None = None
        self._size = 0
        self._moved = 0
        self.paused = False
        self.write: Final[Callable[[bytes | memoryview], None]] = transport.write

    @property
    def busy(self) -> bool:
        """Whether a response is still being written."""
        return self.paused or self._body is not None

    @property
    def size(self) -> int:
        """Unsent bytes."""
        return self._transport.get_write_buffer_size() + (0 if self._body is None else len(self._body))

    def send(self, response: Response, date: bytes, tail: bytes, *, bare: bool, kept: bool) -> None:
        """Write a response.

        Args:
            response: the response.
            date: the value of ``Date``.
            tail: the lines of the common fields, with the empty line.
            bare: write the head only.
            kept: the same response will be sent again with the same ``tail``: keep the bytes.
        """
        if kept and not bare:
            self.write(response.wire(date, tail))
        else:
            content = b"" if bare or response.apart else response.body
            self.write(response.head(date, tail) + content)
        if response.apart and not bare:
            self.body(response)

    def repeat(self, entry: Entry, date: bytes, request_id: bytes | None = None) -> None:
        """Write a cached response; only the first hit of each second is timed."""
        entry.tally.count += 1
        timed = entry.date is not date
        began = 0.0
        if timed:
            began = perf_counter()
            entry.redate(date)
        self.write(entry.wire if request_id is None else entry.wire_with_id(request_id))
        if entry.response.apart:
            self.body(entry.response)
        if timed:
            entry.tally.took(perf_counter() - began)

    def body(self, response: Response) -> None:
        """Write a body that is not part of ``Response.wire``."""
        if len(response.body) <= _WRITE:
            self.write(response.body)
        else:
            self._body = memoryview(response.body)
            self._shared = response.shared
            self._push()

    def pause(self, second: int) -> None:
        """The transport's buffer became full in this ``second``."""
        self.paused = True
        self._moved = second
        self._count()

    def resume(self) -> bool:
        """The transport's buffer has drained; returns whether the response is completely written."""
        self.paused = False
        self._push()
        self._count()
        return not self.busy

    def stalled(self, second: int, patience: int) -> bool:
        """Whether the client has read nothing for more than ``patience`` seconds; call it every second."""
        size = self.size
        if size != self._size:
            self._size, self._moved = size, second
        return second - self._moved > patience

    def release(self) -> None:
        """Free everything: nothing more will be written."""
        self._body = None
        if self._hold is not None:
            self._hold.resize(0)
            self._hold = None

    def _push(self) -> None:
        while self._body is not None and not self.paused:
            piece = self._body[:_WRITE]
            self._body = self._body[_WRITE:] if len(self._body) > _WRITE else None
            self.write(piece)

    def _count(self) -> None:
        if not self.paused:
            if self._hold is not None:
                self._hold.resize(0)
            return
        if self._hold is None:
            self._hold = self._unsent.open(self._peer, self._peer, self._transport.abort)
        own = 0 if self._body is None or self._shared else len(self._body)
        self._hold.resize(self._transport.get_write_buffer_size() + own)
