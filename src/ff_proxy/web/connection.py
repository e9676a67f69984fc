"""One client's connection: requests one after another, hot ones answered here, others lent to uvicorn."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast, final

from ff_proxy.errors import RequestError
from ff_proxy.web.cold import ColdRequest
from ff_proxy.web.head import END, EdgeHead, read_head, sifted_head, without_upgrade
from ff_proxy.web.noise import Noise
from ff_proxy.web.paths import Resource
from ff_proxy.web.problems import problem
from ff_proxy.web.reply import Reply
from ff_proxy.web.sieve import Sifted

if TYPE_CHECKING:
    from ff_proxy.web.edge import Edge

_AHEAD: Final = 64 * 1024
"""Bytes that a client may send ahead while it is not their turn; then nothing more is read."""

_SMALL: Final = 16 * 1024
"""Bodies of posts that are answered here if they have come with their head."""

_LINGER: Final = 2
_TOO_SLOW: Final = "the request took too long to arrive"
_CLOSE: Final = b"connection: close\r\n\r\n"


@final
class Connection(asyncio.Protocol):
    """The protocol of a connection until it closes or becomes a stream.

    At any moment it is in the middle of a head (``_buffer``), of a request that is lent out (``_cold``), of
    one that waits for the store (``_pending``), or between requests. ``_since`` is the second in which that
    began, ``_seen`` the last in which something came. ``noise`` is what differed in its latest requests
    without mattering.
    """

    __slots__ = (
        "_active",
        "_buffer",
        "_cold",
        "_descriptor",
        "_edge",
        "_ending",
        "_finished",
        "_free",
        "_opens",
        "_pending",
        "_reading",
        "_recall",
        "_searched",
        "_seen",
        "_since",
        "_unsent",
        "_vault",
        "_write",
        "halted",
        "noise",
        "transport",
    )

    def __init__(self, edge: "Edge") -> None:
        self._edge: Final = edge
        self._recall: Final = edge.memo.by_bytes
        self._vault: Final = edge.vault
        self._free = True
        self._active = True
        self._buffer = bytearray()
        self._searched = 0
        self._cold: ColdRequest | None = None
        self._pending: asyncio.Future[None] | None = None
        self.halted = False
        self._ending = False
        self._finished = False
        self._opens = False
        self._reading = True
        self._seen = self._since = edge.second
        self._unsent = 0
        self.transport: asyncio.Transport
        self.noise: Noise | None = None
        self._write: Callable[[bytes | memoryview], None]
        self._descriptor = -1

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = cast("asyncio.Transport", transport)
        self._write = self.transport.write
        if transport.get_extra_info("sslcontext") is None:
            plain = transport.get_extra_info("socket")
            self._descriptor = -1 if plain is None else plain.fileno()
        if not self._edge.admit(self):
            self._send(self._edge.crowded(), self._edge.plain_tail, close=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._descriptor = -1
        self._release_cold(exc or ConnectionAbortedError())
        if self._pending is not None:
            self._pending.cancel()
        self._edge.forget(self)

    def eof_received(self) -> bool:
        """See asyncio; an answer that is being made is still sent, where the transport allows it."""
        cold = self._cold
        if self._ending or not self.transport.can_write_eof():
            return False
        if cold is None:
            self._finished = True
            return self._pending is not None and not self._opens
        if cold.hungry:
            return False
        cold.let_go()
        return True

    def pause_writing(self) -> None:
        """See asyncio."""
        self.halted = True
        self._free = False
        self._since = self._edge.second
        if self._cold is not None:
            self._cold.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        self.halted = False
        if self._cold is not None:
            self._cold.resume_writing()
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """See asyncio. The first lines are what polling SDKs get to see: every name in them counts."""
        self._active = True
        if self._free:
            held = self._recall(data)
            if held is not None and held.lease.current and (held.check is None or held.check(held.answer)):
                held.used = True
                held.tally.count += 1
                if held.date is not self._edge.date:
                    self._edge.redate(held)
                if held.reply.apart:
                    self._vault.write(self.transport, self._descriptor, held.wire, held.reply)
                else:
                    self._write(held.wire)
                return
            if data.endswith(END):
                if self._edge.repeat(data, self):
                    return
                sifted = self._edge.sift(data)
                if sifted is not None:
                    if not self._edge.repeat_sifted(sifted, data, self):
                        self._request(data, sifted)
                        self._settle()
                    return
        self._keep(data)
        self._go_on()

    # --- from bytes to requests

    def _keep(self, data: bytes) -> None:
        if self._ending:
            return
        if not self._buffer and self._cold is None:
            self._since = self._edge.second
        self._buffer += data

    def _go_on(self) -> None:
        while self._buffer and not (self.halted or self._ending or self._pending):
            if self._cold is None:
                head = self._cut_head()
                if head is None:
                    break
                self._request(head)
            elif self._cold.hungry:
                self._cold.feed_body(self._buffer)
                self._fed(self._cold)
            else:
                break
        self._settle()

    def _settle(self) -> None:
        waiting = self._cold is not None or self.halted or self._pending is not None
        self._free = not (waiting or self._ending or self._buffer or self._edge.closing)
        if self.transport.is_closing():
            return
        wanted = not (waiting and len(self._buffer) > _AHEAD)
        if not wanted:
            self.transport.pause_reading()
        elif not self._reading:
            self.transport.resume_reading()
        self._reading = wanted

    def _cut_head(self) -> bytes | None:
        buffer = self._buffer
        if self._searched == 0:
            # Some clients end a body with a line end that belongs to nothing (RFC 9112 §2.2).
            while buffer.startswith(b"\r\n"):
                del buffer[:2]
            if buffer[:1] and not buffer[:1].isalpha() and buffer != b"\r":
                self._refuse(400, "this is not HTTP")
                return None
        end = buffer.find(END, max(0, self._searched - len(END)))
        limit = self._edge.limits.head_bytes
        if end < 0 and len(buffer) <= limit:
            self._searched = len(buffer)
            return None
        if end < 0 or end > limit:
            self._refuse(431, "the request's header fields are too large")
            return None
        head = bytes(buffer[: end + len(END)])
        del buffer[: len(head)]
        self._searched = 0
        self._since = self._edge.second
        return head

    def _request(self, data: bytes, sifted: Sifted | None = None) -> None:
        if sifted is None:
            if self._edge.crowded_head(data):
                self._refuse(431, "the request has too many header fields")
                return
            sifted = self._edge.sift(data)
        head = read_head(data) if sifted is None else sifted_head(sifted[0], sifted[1])
        if head is None:
            self._lend(data, -1)
        elif not (self._hot(head, sifted) if head.simple else self._posted(head)):
            self._lend(without_upgrade(data) if b"upgrade" in head.head.fields else data, head.length)

    def _hot(self, head: EdgeHead, sifted: Sifted | None) -> bool:
        place = self._edge.locate(head.head.path)
        if place is None:
            return False
        if place.resource is Resource.STREAM:
            self._open_stream(head)
            return True
        if not self._edge.reads(place):
            return False
        reply = self._edge.read(place, head, sifted)
        if reply is None:
            self._wait_for(self._edge.read_in_time(self, place, head))
        else:
            self.answer(reply, head)
        return True

    def _posted(self, head: EdgeHead) -> bool:
        length = head.length
        if head.head.method != "POST" or not head.usual or not 0 < length <= min(len(self._buffer), _SMALL):
            return False
        outcome = self._edge.post(self, head, bytes(self._buffer[:length]))
        if outcome is None:
            return False
        del self._buffer[:length]
        self._wait_for(outcome)
        return True

    # --- answering here

    def put(self, start: bytes, reply: Reply) -> None:
        """Write a reply that may be asked for again; ``start`` is its ``wire``."""
        if reply.apart:
            self._vault.write(self.transport, self._descriptor, start, reply)
        else:
            self._write(start)

    def _send(self, reply: Reply, tail: bytes, *, close: bool) -> None:
        close = close or self._finished or self._edge.closing
        if close:
            tail = tail[:-2] + _CLOSE
        start = reply.wire(self._edge.date, tail)
        self._write(start)
        if reply.apart:
            self._write(reply.body)
        if close:
            self._ending = True
            self._free = False
            self.transport.close()

    def answer(self, reply: Reply, head: EdgeHead) -> None:
        """Send the reply to a request."""
        self._send(reply, self._edge.tail(head.head), close=head.close)

    def _refuse(self, status: int, message: str) -> None:
        self._release_cold(ConnectionAbortedError())
        reply = problem(RequestError(status, message))
        self.transport.write(reply.wire(self._edge.date, self._edge.plain_tail[:-2] + _CLOSE))
        # What the client still sends is read off for a moment: a reset could overtake the reply.
        self._ending = True
        self._free = False
        self._buffer.clear()
        self._since = self._edge.second
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _open_stream(self, head: EdgeHead) -> None:
        """Hand the connection to the hub, or refuse."""
        outcome = self._edge.stream(self, self.transport, head)
        if isinstance(outcome, Reply):
            self.answer(outcome, head)
        elif outcome is not None:
            self._opens = True
            self._wait_for(outcome)
        else:
            self.let_go()

    def let_go(self) -> None:
        """The transport has another protocol now."""
        self._ending = True
        self._free = False
        self._buffer.clear()

    def _wait_for(self, outcome: asyncio.Future[None]) -> None:
        self._pending = outcome
        outcome.add_done_callback(self._answered)

    def _answered(self, _: asyncio.Future[None]) -> None:
        self._pending = None
        self._opens = False
        if self._finished:
            self.transport.close()
        if not self.transport.is_closing():
            self._go_on()

    # --- lending out

    def _lend(self, data: bytes, owed: int) -> None:
        cold = ColdRequest(self._edge.cold, self._on_response, owed=owed, last=self._edge.closing)
        cold.connection_made(self.transport)
        self._cold = cold
        self._since = self._edge.second
        cold.feed_head(data)
        self._fed(cold)

    def _fed(self, cold: ColdRequest) -> None:
        if cold.mistaken:
            # Nothing that follows can be trusted.
            if cold.started:
                self.transport.close()
            else:
                self._refuse(400, "the request cannot be understood")
        elif cold.answered:
            self._on_response()

    def _on_response(self) -> None:
        cold = self._cold
        if cold is None or self.transport.is_closing():
            return
        if cold.held_back:
            self.transport.close()
        elif cold.over:
            self._release_cold(None)
            if self._edge.closing:
                self.transport.close()
            elif self._buffer:
                asyncio.get_running_loop().call_soon(self._go_on)
            self._settle()

    def _release_cold(self, lost: Exception | None) -> None:
        cold = self._cold
        if cold is not None:
            self._cold = None
            cold.release(lost)

    # --- time

    def check(self) -> None:
        """Called once a second: has this taken too long?"""
        limits, now = self._edge.limits, self._edge.second
        if self._active:
            self._active, self._seen = False, now
        age = now - self._since
        if self.halted or self.transport.is_closing():
            self._check_progress(age)
        elif self._ending:
            if age > _LINGER:
                self.transport.close()
        elif self._cold is not None:
            if not self._cold.whole and age > limits.body_seconds + self._cold.received // limits.body_rate:
                self._too_slow(self._cold)
        elif self._buffer:
            if age > limits.head_seconds:
                self._refuse(408, _TOO_SLOW)
        elif self._pending is None and now - self._seen > limits.idle_seconds:
            self.transport.close()

    def _check_progress(self, age: int) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._since = unsent, self._edge.second
        elif age > self._edge.limits.stall_seconds:
            self.transport.abort()

    def close_if_idle(self) -> None:
        """The server is going down: end now, or after the request that is being answered."""
        if self._cold is not None:
            self._cold.let_go()
        elif self._pending is None:
            self.transport.close()
        self._settle()

    def abort(self) -> None:
        """End at once."""
        self.transport.abort()

    def _too_slow(self, cold: ColdRequest) -> None:
        if cold.started:
            self.transport.abort()
        else:
            self._refuse(408, _TOO_SLOW)
