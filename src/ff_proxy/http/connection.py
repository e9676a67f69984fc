"""The asyncio protocol of a client connection: reads requests and writes their responses in order."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final, cast, final

from ff_proxy.errors import RequestError
from ff_proxy.http.dispatcher import Exchange, too_slow
from ff_proxy.http.handler import Cacheable, Handover, Outcome
from ff_proxy.http.incoming import Incoming
from ff_proxy.http.lingering import Lingering
from ff_proxy.http.negotiate import request_id
from ff_proxy.http.outgoing import Outgoing
from ff_proxy.http.parser import Head
from ff_proxy.http.response import RETRY_SOON, UNAVAILABLE, Response, problem
from ff_proxy.http.response_cache import Entry
from ff_proxy.http.server_state import Admission, ServerState
from ff_proxy.http.whole_heads import END, LONGEST

# Bytes read ahead of the request in progress; beyond that, reading pauses.
_AHEAD: Final = 64 * 1024
# Work units per turn of the event loop: one request that calls its handler uses up a turn.
_TURN: Final = 16
_SLICE_COST: Final = 4
_HIT_COST: Final = 1
_SILENT: Final = 1
_NO_ROOM: Final = "the buffer for request bodies is full, try again"


@final
class Connection(asyncio.Protocol):
    """The protocol of a connection until it closes or is handed over.

    ``_since`` is the second in which the current head, body, wait or write began; ``_seen`` is the last one
    in which data arrived. ``_free``: the next request can be answered as soon as it arrives.

    Args:
        state: the server's shared state.
        admission: its slot under the connection limit.
    """

    # fmt: off
    __slots__ = (
        "_active", "_admission", "_ended", "_exchange", "_find", "_finished", "_free", "_incoming",
        "_outgoing", "_over_limit", "_peer", "_read_head", "_reading", "_record_hit", "_response_by_bytes",
        "_scheduled", "_seen", "_since", "_state", "_task", "_transport", "_write", "logs",
    )
    # fmt: on

    def __init__(self, state: ServerState, admission: Admission) -> None:
        self._state: Final = state
        self._admission: Final = admission
        self._peer: Final = admission.peer
        self._over_limit: Final = admission.over_limit
        self._response_by_bytes: Final = state.dispatcher.response_by_bytes
        self._find: Final = state.dispatcher.find
        self._record_hit: Final = state.dispatcher.cache.record_hit
        self._read_head: Final = state.read_head
        self._incoming: Final = Incoming(state)
        self.logs: bool
        self._outgoing: Outgoing
        self._transport: asyncio.Transport
        self._write: Callable[[bytes | memoryview], None]
        self._exchange: Exchange | None = None
        self._task: asyncio.Future[Outcome] | None = None
        self._free = not (admission.over_limit or state.draining)
        self._scheduled = False
        self._active = True
        self._reading = True
        self._finished = False
        self._ended = False
        self._seen = self._since = state.second

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast("asyncio.Transport", transport)
        self._write = self._transport.write
        self._outgoing = Outgoing(self._transport, self._state.unsent, self._peer)
        self._state.connections.add(self)
        self.logs = self._state.dispatcher.observer.logs
        if self._state.closing:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        """See asyncio."""
        self._detach()
        self._outgoing.release()
        self._admission.release()
        if self._exchange is not None and self._exchange.head.body is not None:
            # A complete post still counts, even if the client does not wait for the answer.
            self._exchange.head.body.fail()
        elif self._task is not None:
            self._task.cancel()

    def _detach(self) -> None:
        self._ended = True
        self._free = False
        self._state.connections.discard(self)
        self._incoming.clear()

    def eof_received(self) -> bool:
        """See asyncio; pending requests are still answered if the transport allows it."""
        self._finished = True
        self._free = False
        if self._ended or not self._transport.can_write_eof():
            return False
        if (exchange := self._exchange) is not None:
            return self._incoming.may_complete(exchange.head) and not exchange.streams
        return self._outgoing.busy or self._scheduled

    def pause_writing(self) -> None:
        """See asyncio."""
        self._free = False
        self._outgoing.pause(self._state.second)

    def resume_writing(self) -> None:
        """See asyncio."""
        if self._outgoing.resume():
            self._transport.close() if self._ended else self._schedule()

    def data_received(self, data: bytes) -> None:
        """See asyncio. The first lines answer polling SDKs from the cache: every operation in them counts."""
        self._active = True
        if self._free:
            entry = self._response_by_bytes(data)
            if entry is not None and entry.lease.current and (entry.check is None or entry.check()):
                if self.logs or entry.date is not self._state.date:
                    self._repeat(entry, data)
                    return
                # What Outgoing.repeat does, without the call.
                entry.tally.count += 1
                self._write(entry.wire)
                if entry.response.apart:
                    self._outgoing.body(entry.response)
                return
            if len(data) <= LONGEST and data.endswith(END) and (head := self._read_head(data)) is not None:
                self._answer_whole(data, head)
                return
        if self._ended:
            return
        incoming = self._incoming
        if self._exchange is None and incoming.between and not incoming.buffer:
            self._since = self._state.second
        incoming.buffer.extend(data)
        if self._scheduled or self._state.turns.busy:
            self._schedule()
            self._end_turn(again=False)
        else:
            self._advance()

    # --- reading requests

    def _answer_whole(self, data: bytes, head: Head) -> None:
        """Answer a request that is exactly ``data`` and has no body."""
        self._since = self._state.second
        entry = self._find(head)
        sent = head.fields.get(b"x-request-id")
        if entry is not None and sent is None:
            self._repeat(entry, data, head)
            self._record_hit(data, entry)
        elif entry is not None and sent is not None and not self.logs:
            self._outgoing.repeat(entry, self._state.date, request_id(sent))
        else:
            self._answer(head)
            if not self._ended:
                self._end_turn(again=False)

    def _advance(self) -> None:
        """Process what has arrived, as far as one turn allows."""
        left, incoming = _TURN, self._incoming
        while left > 0 and not (self._ended or self._outgoing.busy):
            if self._exchange is not None:
                if not self._feed_body(self._exchange):
                    break
                left -= _SLICE_COST
            elif (head := incoming.next_head()) is not None:
                left -= self._answer(head)
            elif incoming.refusal is not None:
                self._refuse(incoming.refusal)
            elif (piece := incoming.cut_head()) is not None:
                left -= _HIT_COST
                self._feed_piece(piece)
            else:
                break
        if not self._ended:
            self._end_turn(again=left <= 0)

    def _feed_piece(self, piece: bytes) -> None:
        plain = self._incoming.between and not (self._over_limit or self._state.draining)
        entry = self._response_by_bytes(piece) if plain else None
        if entry is not None and entry.valid:
            self._repeat(entry, piece)
        else:
            self._incoming.feed(piece)

    def _repeat(self, entry: Entry, data: bytes, head: Head | None = None) -> None:
        """Answer a request from the cache, and log it if that is on."""
        if not self.logs:
            self._outgoing.repeat(entry, self._state.date)
            return
        dispatcher, began = self._state.dispatcher, perf_counter()
        self._outgoing.repeat(entry, self._state.date)
        seconds = perf_counter() - began
        known = dispatcher.observer.repeated(data, self._peer, seconds)
        if not known and (parsed := head or self._read_head(data)) is not None:
            exact = data if head is None else b""
            dispatcher.note_repeated(exact, parsed, entry.response.status, self._peer, seconds)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._state.turns.wait(self._take_turn)

    def _take_turn(self) -> None:
        self._scheduled = False
        if not self._transport.is_closing():
            self._advance()

    def _end_turn(self, *, again: bool) -> None:
        incoming, exchange, busy = self._incoming, self._exchange, self._outgoing.busy
        incoming.release_parser()
        empty = incoming.empty
        if again and not (empty or busy):
            self._schedule()
        unfinished = exchange is not None and incoming.may_complete(exchange.head)
        if self._finished and not (unfinished or busy or self._scheduled):
            self._transport.close()
            return
        idle = empty and exchange is None and not busy
        self._free = idle and not (self._finished or self._over_limit or self._state.draining)
        ahead = len(incoming.buffer) > _AHEAD
        if ahead is self._reading:
            self._set_reading(on=not ahead)
        if not empty or exchange is not None or incoming.counted:
            self._count_held()

    def _set_reading(self, *, on: bool) -> None:
        self._reading = on
        if not self._transport.is_closing():
            self._transport.resume_reading() if on else self._transport.pause_reading()

    def _feed_body(self, exchange: Exchange) -> bool:
        """Feed a slice of the request's body; ``False`` if there is none or the handler's buffer is full."""
        body, incoming = exchange.head.body, self._incoming
        if body is None or not incoming.feed_body(body):
            return False
        if body.ended:
            self._since = self._state.second
            if exchange.answered:
                self._exchange = None
        elif incoming.refusal is not None:
            body.fail()
            self._refuse(incoming.refusal)
        elif body.abandoned and exchange.answered:
            self._linger()
        return True

    # --- answering

    def _answer(self, head: Head) -> int:
        """Answer a request or start its handler; returns the work units used."""
        dispatcher = self._state.dispatcher
        try:
            exchange = dispatcher.exchange(head)
        except RequestError as refusal:
            self._refuse(refusal)
            return _TURN
        if self._over_limit and (exchange.route is None or not exchange.route.over_limit):
            self._respond(exchange, self._state.over_limit_response)
            return _TURN
        if (entry := self._find(head)) is not None:
            self._respond(exchange, entry.response)
            return _HIT_COST
        self._exchange = exchange
        if head.body is not None:
            limits = self._state.limits
            head.body.open(exchange.body_limit(limits), limits.discard_bytes, self._resume_body)
            for _ in range(_TURN):
                if not self._feed_body(exchange):
                    break
                if self._ended:
                    return _TURN
        outcome = dispatcher.start(exchange, self._peer)
        if isinstance(outcome, Response | Cacheable | Handover):
            self._respond(exchange, dispatcher.resolve(exchange, outcome))
            return _TURN
        self._since = self._state.second
        self._task = self._state.track(asyncio.ensure_future(outcome))
        self._task.add_done_callback(self._answered)
        return _TURN

    def _answered(self, task: asyncio.Future[Outcome]) -> None:
        self._task = None
        exchange = self._exchange
        if exchange is None or exchange.answered or self._ended:
            if not task.cancelled():
                task.exception()  # mark it as retrieved: there is no client to send it to
            return
        self._respond(exchange, self._state.dispatcher.resolve_task(exchange, task))
        if not (self._scheduled or self._ended):
            self._advance()

    def _respond(self, exchange: Exchange, answer: Response | Handover) -> None:
        dispatcher = self._state.dispatcher
        if isinstance(answer, Handover):
            if not self._state.closing:
                dispatcher.note(exchange, 200, self._peer, answer.label)
                self._hand_over(exchange, answer)
                return
            answer = dispatcher.problem(exchange, RequestError(UNAVAILABLE, "going down"))
        dispatcher.note(exchange, answer.status, self._peer)
        exchange.answered = True
        self._send(exchange, answer)
        self._since = self._state.second
        body = exchange.head.body
        if body is None or body.ended:
            self._exchange = None
        else:
            body.drop()

    def _send(self, exchange: Exchange, response: Response) -> None:
        dispatcher, date = self._state.dispatcher, self._state.date
        close = self._ends_with(exchange)
        tail = dispatcher.tail(exchange)
        kept = not close and exchange.request_id is None
        if not kept:
            tail = dispatcher.finish_tail(tail, exchange.request_id, close=close)
        self._outgoing.send(response, date, tail, bare=exchange.head.method == "HEAD", kept=kept)
        if close:
            self._end(whole=exchange.head.whole)

    def _ends_with(self, exchange: Exchange) -> bool:
        """Whether the connection ends with the response to ``exchange``."""
        head, body = exchange.head, exchange.head.body
        # Without our 100 Continue a client may send the body or the next request: we cannot tell which.
        unasked = body is not None and (body.expects or body.abandoned) and not body.ended
        finished = self._finished and head.whole and self._incoming.empty
        return head.close or unasked or finished or self._over_limit or self._state.draining

    def _resume_body(self) -> None:
        """Called when the handler waits for more of the body."""
        exchange = self._exchange
        if self._ended or exchange is None or exchange.head.body is None:
            return
        body = exchange.head.body
        if body.expects and body.wanted:
            body.expects = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._incoming.buffer:
            self._schedule()

    def _hand_over(self, exchange: Exchange, handover: Handover) -> None:
        state = self._state
        tail = state.dispatcher.finish_tail(state.dispatcher.tail(exchange), exchange.request_id, close=True)
        wire = Response(200, handover.fields).head(state.date, tail)
        self._detach()
        handover.take(self._transport, wire, self._admission.release)

    # --- closing

    def _refuse(self, refusal: RequestError) -> None:
        """Send the error and close: the framing of what follows cannot be trusted."""
        exchange = self._exchange
        if self._task is not None:
            self._task.cancel()
        if self._outgoing.busy:
            self._transport.abort()
            return
        if exchange is None or not exchange.answered:
            response = problem(refusal)
            if exchange is not None:
                exchange.answered = True
                exchange.cause = refusal.message
                self._state.dispatcher.note(exchange, refusal.status, self._peer)
                if exchange.route is not None:
                    response = exchange.route.problem(refusal)
            self._write(self._state.wire(response))
        self._linger()

    def _end(self, *, whole: bool) -> None:
        """Close once everything is sent; if the request is not ``whole``, read and drop its rest first."""
        if not whole:
            self._linger()
            return
        self._ended = True
        self._free = False
        self._incoming.clear()
        if not self._outgoing.busy:
            self._transport.close()

    def _linger(self) -> None:
        """Read and drop what the client still sends, for a while."""
        self._detach()
        Lingering(self._state, self._transport, self._outgoing, self._admission.release)

    # --- memory

    def _count_held(self) -> None:
        exchange = self._exchange
        body = None if exchange is None else exchange.head.body
        share = self._peer if exchange is None else exchange.share or self._peer
        self._incoming.count(body, share, self._peer, self._evict)

    def _evict(self) -> None:
        self._refuse(RequestError(UNAVAILABLE, _NO_ROOM, retry_after=RETRY_SOON))

    # --- time

    def check(self) -> None:
        """See ``OpenConnection``."""
        limits, now = self._state.limits, self._state.second
        if self._active:
            self._active, self._seen = False, now
        age = now - self._since
        if self._outgoing.busy or self._transport.is_closing():
            if self._outgoing.stalled(now, limits.stall_seconds):
                self._transport.abort()
        elif self._exchange is not None:
            if (overdue := self._exchange.overdue(age, limits)) is not None:
                self._refuse(overdue)
        elif not self._incoming.empty:
            if age > limits.head_seconds:
                self._refuse(too_slow())
        elif self._over_limit and age > _SILENT:
            self._write(self._state.wire(self._state.over_limit_response))
            self._end(whole=True)
        elif now - self._seen > limits.idle_seconds:
            self._transport.close()

    def drain(self) -> None:
        """See ``OpenConnection``."""
        self._free = False

    @property
    def idle(self) -> bool:
        """See ``Evictable``."""
        return self._exchange is None and not self._scheduled and self._incoming.empty

    def close_if_idle(self) -> None:
        """See ``OpenConnection``."""
        self._free = False
        if self.idle:
            self._end(whole=True)

    def abort(self) -> None:
        """See ``OpenConnection``."""
        self._transport.abort()
