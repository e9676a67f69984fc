"""The fast edge: what all connections share (docs/decisions/0002-the-edge.md)."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from email.utils import formatdate
from functools import partial
from typing import Final

from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import RequestError, StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.memory import LEAST_SHARES, MemoryShares
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.telemetry import Telemetry
from ff_proxy.web.access import Access, Outdated, StreamGrant
from ff_proxy.web.cold import ColdServer
from ff_proxy.web.connection import Connection
from ff_proxy.web.cors import Cors
from ff_proxy.web.counts import Counts
from ff_proxy.web.envelope import Envelope
from ff_proxy.web.head import EdgeHead
from ff_proxy.web.limits import Limits
from ff_proxy.web.memo import Memo, Remembered
from ff_proxy.web.needs import Freshness, StreamHub
from ff_proxy.web.negotiate import echoed_id, request_id
from ff_proxy.web.paths import Place, Resource, locate
from ff_proxy.web.problems import RETRY_SOON, UNAVAILABLE, problem, stream_problem
from ff_proxy.web.reply import Reply, empty_reply, field_lines
from ff_proxy.web.request import RequestHead
from ff_proxy.web.resources import READABLE, Answer, NotNow, Resources
from ff_proxy.web.sealed import Vault
from ff_proxy.web.sieve import MOST_NOISE, Sieve, Sifted

_SEALED: Final = 256
_LONGEST_PATH: Final = 512
_STREAM_FIELDS: Final = (
    b"\r\ncontent-type: text/event-stream\r\ncache-control: no-cache, no-transform\r\n"
    b"x-accel-buffering: no\r\nvary: Authorization, API-Key\r\ntransfer-encoding: chunked\r\n"
)
_STREAM: Final = Place(Resource.STREAM)
_OLD_PROXY: Final = "a stream was asked for in HTTP/1.0: let the proxy in front use HTTP/1.1"


class Edge:
    """Makes connections, and answers for them what needs no connection.

    Args:
        resources: answers reads.
        access: lets streams in.
        freshness: catches up before a stream is refused.
        hub: keeps streams.
        app: serves everything else.
        cors: fields for browsers.
        counts: counts what is answered here.
        snapshots: followed by the memo.
        clock: for ``date``.
        telemetry: told of trouble.
        limits: bounds.
        shares: how much may be remembered.
    """

    def __init__(
        self,
        resources: Resources,
        access: Access,
        freshness: Freshness,
        hub: StreamHub,
        app: Envelope,
        cors: Cors,
        counts: Counts,
        snapshots: SnapshotRegistry,
        clock: Clock,
        telemetry: Telemetry,
        limits: Limits,
        shares: MemoryShares = LEAST_SHARES,
    ) -> None:
        self.limits: Final = limits
        self.cold: Final = ColdServer(app)
        self._app = app
        self.vault: Final = Vault(_SEALED)
        self.memo: Final = Memo(
            snapshots, resources, budget=shares.responses, dropped=telemetry.dropped("responses")
        )
        self._by_rest: Final = self.memo.by_rest
        self._by_lines: Final = self.memo.by_lines
        self._sieve: Final = Sieve(shares.routes // 2)
        self._most_lines: Final = limits.head_fields + 3
        self.connections: set[Connection] = set()
        self.second = 0
        self.closing = False
        self.streams = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._resources = resources
        self._access = access
        self._freshness = freshness
        self._hub = hub
        self._cors = cors
        self._counts = counts
        self._clock = clock
        self._log = telemetry.logger("web")
        self._once = telemetry.once("web")
        self._refused = telemetry.metrics.refused_connections
        self._places: BoundedMap[bytes, Place] = BoundedMap(
            shares.routes // 2, dropped=telemetry.dropped("routes")
        )
        self.plain_tail: Final = field_lines(cors.fields(None)) + b"\r\n"
        self.date = b""
        self._set_date()

    def connection(self) -> Connection:
        """A protocol for a connection that is being accepted."""
        return Connection(self)

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        if len(self.connections) + self.streams >= self.limits.connections:
            self._refused.labels("limit").inc()
            self._once.warning("connection limit reached", limit=self.limits.connections)
            return False
        self.connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """A connection is gone, or is a stream by now."""
        self.connections.discard(connection)

    @staticmethod
    def crowded() -> Reply:
        """What a connection too many is told."""
        return empty_reply(UNAVAILABLE, (b"retry-after", b"%d" % RETRY_SOON))

    def tick(self) -> None:
        """A second has passed: move the date, look for connections that take too long."""
        self.second += 1
        self._set_date()
        self._counts.fold()
        self.memo.sweep()
        for connection in tuple(self.connections):
            connection.check()

    def close_idle(self) -> None:
        """No requests after those that are being answered."""
        self.closing = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

    def abort(self) -> None:
        """End what is left."""
        for task in self._tasks:
            task.cancel()
        for connection in tuple(self.connections):
            connection.abort()

    def locate(self, path: bytes) -> Place | None:
        """The place a raw path names."""
        place = self._places.get(path)
        if place is None:
            place = locate(path)
            # Of targets there are too many to keep, and their answers are remembered as a whole.
            if place is not None and not place.target_sent and len(path) <= _LONGEST_PATH:
                self._places.put(path, place)
        return place

    def tail(self, head: RequestHead) -> bytes:
        """The common fields as lines, and the empty line."""
        return _with_id(self._tail(head.fields), echoed_id(head.fields))

    def _tail(self, fields: Mapping[bytes, bytes]) -> bytes:
        if self._cors.constant or b"origin" not in fields:
            return self.plain_tail
        return field_lines(self._cors.fields(fields[b"origin"])) + b"\r\n"

    def redate(self, held: Remembered) -> None:
        """Bring what is written for ``held`` up to date."""
        held.date = self.date
        held.wire = held.reply.wire(self.date, held.tail)

    def repeat(self, data: bytes, connection: Connection) -> bool:
        """Answer as a request was answered before that differs in nothing but noise.

        ``data`` ends like a head. What is no single head is not answered: nothing is left of it that was.
        """
        noise = connection.noise
        if noise is None or (cut := noise.cut(data)) is None:
            return False
        rest, echoed = cut
        held = self._by_rest(rest)
        if held is None or not held.lease.current or (held.check is not None and not held.check(held.answer)):
            held = self.memo.match_rest(rest)
            if held is None:
                return False
        self._repeat(held, data, echoed, connection)
        return True

    def sift(self, data: bytes) -> Sifted | None:
        """What matters of a head, and what does not; ``data`` ends like one.

        ``None`` if it is no single head of well-formed fields: an empty line is none of a head's.
        """
        lines = data.split(b"\r\n")
        return None if len(lines) > self._most_lines else self._sieve.sift(lines)

    def repeat_sifted(self, sifted: Sifted, data: bytes, connection: Connection) -> bool:
        """Answer as a request was answered before that differs in nothing that matters."""
        matters, echoed, noisy = sifted
        held = self._by_lines(matters)
        if held is None or not held.good:
            held = self.memo.match(matters)
            if held is None:
                return False
        if noisy and data.count(b"\r\n") + MOST_NOISE <= self._most_lines:
            noise = connection.noise = self._sieve.noise(noisy, echoed)
            if noise is not None and (cut := noise.cut(data)) is not None:
                self.memo.put_without_noise(cut[0], held)
        self._repeat(held, data, None if echoed is None else echoed.partition(b":")[2], connection)
        return True

    def _repeat(self, held: Remembered, data: bytes, echoed: bytes | None, connection: Connection) -> None:
        held.tally.count += 1
        if echoed is not None:
            tail = _with_id(held.tail, request_id(echoed.strip(b" \t")))
            connection.put(held.reply.once(self.date, tail), held.reply)
            return
        if held.date is not self.date:
            self.redate(held)
        connection.put(held.wire, held.reply)
        self.memo.put_exact(data, held)

    def crowded_head(self, data: bytes) -> bool:
        """Whether a head has too many fields."""
        return data.count(b"\r\n") > self._most_lines - 1

    def reads(self, place: Place) -> bool:
        """Whether a plain GET of ``place`` is answered here."""
        return place.resource in READABLE

    def read(self, place: Place, head: EdgeHead, sifted: Sifted | None) -> Reply | None:
        """The reply to a read, or ``None`` if it has to wait for the store."""
        answer: Answer | None = None
        try:
            outcome = self._resources.answer(place, head.head)
        except Exception as error:  # noqa: BLE001  (the last resort: a client must get an answer)
            reply = self._problem(place, error)
        else:
            if isinstance(outcome, NotNow):
                return None
            answer = outcome
            reply = answer.reply
        tally = self._counts.tally(place, reply.status, "GET")
        tally.count += 1
        if answer is not None and answer.recurs and sifted is not None and not head.close:
            self.memo.put(sifted[0], answer, self._tail(head.head.fields), tally)
        return reply

    def read_in_time(self, connection: Connection, place: Place, head: EdgeHead) -> asyncio.Task[None]:
        """The reply to a read that has to wait for the store; it is given to ``connection``."""

        async def in_time() -> Reply:
            return (await self._resources.in_time(place, head.head)).reply

        return self._background(self._answer(connection, place, head, in_time))

    def post(self, connection: Connection, head: EdgeHead, body: bytes) -> asyncio.Future[None] | None:
        """The reply to a small post; it is given to ``connection``. ``None`` if it is not for the edge.

        What was posted counts, whether its sender waits for the reply or not.
        """
        place = self.locate(head.head.path)
        post = None if place is None else self._app.posts.get(place.resource)
        if place is None or post is None:
            return None
        work = self._answer(connection, place, head, partial(post.answer, place, head.head, body))
        return asyncio.shield(self._background(work))

    async def _answer(
        self, connection: Connection, place: Place, head: EdgeHead, work: Callable[[], Awaitable[Reply]]
    ) -> None:
        began = self._clock.monotonic()
        try:
            reply = await work()
        except Exception as error:  # noqa: BLE001  (the last resort: a client must get an answer)
            reply = self._problem(place, error)
        self._app.note(head.head, place, reply.status, self._clock.monotonic() - began)
        if not connection.transport.is_closing():
            connection.answer(reply, head)

    def _problem(self, place: Place, error: Exception) -> Reply:
        if not isinstance(error, RequestError | StoreUnavailable):
            self._log.error("a request failed", path=place.resource.value, error=repr(error))
        return problem(error)

    def _background(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stream(
        self, connection: Connection, transport: asyncio.Transport, head: EdgeHead
    ) -> Reply | asyncio.Task[None] | None:
        """Open a stream: a reply refuses it, a task is still to find out, ``None`` says that it is open."""
        try:
            grant = self._access.stream(head.head.fields)
        except Outdated as refusal:
            return self._background(self._stream_later(connection, transport, head, refusal))
        except RequestError as refusal:
            return self._stream_refused(refusal)
        return self._stream_opened(connection, transport, head, grant)

    async def _stream_later(
        self, connection: Connection, transport: asyncio.Transport, head: EdgeHead, refusal: Outdated
    ) -> None:
        await self._freshness.refresh(refusal.environment)
        if transport.is_closing():
            return
        try:
            grant = self._access.stream(head.head.fields)
        except RequestError as definite:
            reply: Reply | None = self._stream_refused(definite)
        else:
            reply = self._stream_opened(connection, transport, head, grant)
        if reply is None:
            connection.let_go()
        else:
            connection.answer(reply, head)

    def _stream_refused(self, refusal: RequestError) -> Reply:
        reply = stream_problem(refusal)
        self._counts.tally(_STREAM, reply.status, "GET").count += 1
        return reply

    def _stream_opened(
        self, connection: Connection, transport: asyncio.Transport, head: EdgeHead, grant: StreamGrant
    ) -> Reply | None:
        if self.closing:
            return self._stream_refused(RequestError(UNAVAILABLE, "going down", retry_after=RETRY_SOON))
        if head.old:
            self._once.warning(_OLD_PROXY)
            return self._stream_refused(RequestError(UNAVAILABLE, _OLD_PROXY, retry_after=RETRY_SOON))
        self._counts.tally(Place(Resource.STREAM, grant.environment), 200, "GET").count += 1
        self.forget(connection)
        self.streams += 1
        start = b"HTTP/1.1 200 OK\r\ndate: " + self.date + _STREAM_FIELDS
        wire = start + self.tail(head.head)[:-2] + b"connection: close\r\n\r\n"
        self._hub.open_transport(
            transport, grant.environment, grant.key, grant.issued_at, wire, self._stream_closed
        )
        return None

    def _stream_closed(self) -> None:
        self.streams -= 1

    def _set_date(self) -> None:
        self.date = formatdate(self._clock.wall(), usegmt=True).encode()
        self.cold.set_date(self.date)


def _with_id(tail: bytes, echoed: bytes | None) -> bytes:
    return tail if echoed is None else b"%bx-request-id: %b\r\n\r\n" % (tail[:-2], echoed)
