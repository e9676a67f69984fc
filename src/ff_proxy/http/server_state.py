"""State that all connections of a server share: admission, parsers, time, shutdown."""

import asyncio
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final, Protocol, TypeVar, final

from ff_proxy.http.buffer_budget import BufferBudget
from ff_proxy.http.client_address import ClientAddresses
from ff_proxy.http.dispatcher import Dispatcher
from ff_proxy.http.limits import Limits
from ff_proxy.http.parser import RequestParser
from ff_proxy.http.response import RETRY_SOON, UNAVAILABLE, Response, empty_response
from ff_proxy.http.turns import Turns
from ff_proxy.http.whole_heads import WholeHeads
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry

_SPARE_PARSERS: Final = 64

_Result = TypeVar("_Result")


class OpenConnection(Protocol):
    """How the server controls a connection.

    Attributes:
        logs: pass each of its requests to the observer's access log.
    """

    logs: bool

    def check(self) -> None:
        """Check timeouts; called every second."""
        ...

    def drain(self) -> None:
        """Close after the next response."""
        ...

    def close_if_idle(self) -> None:
        """Close now, or after the requests in progress."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Evictable(Protocol):
    """A connection that may be closed to make room for another."""

    @property
    def idle(self) -> bool:
        """Whether it has no unanswered request."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


@final
class Admission:
    """A connection's slot under the connection limit, until ``release``.

    Attributes:
        peer: the peer's address.
        over_limit: the server or this peer is over its limit: the connection may make one request, and only
            to a ``Route.over_limit`` route.
        released: ``release`` has been called.
    """

    __slots__ = ("_on_release", "over_limit", "peer", "released")

    def __init__(
        self, peer: str, on_release: Callable[["Admission"], None], *, over_limit: bool = False
    ) -> None:
        self.peer: Final = peer
        self.over_limit: Final = over_limit
        self._on_release: Final = on_release
        self.released = False

    def release(self) -> None:
        """Free the slot: the connection has closed or was never made. Further calls do nothing."""
        if not self.released:
            self.released = True
            self._on_release(self)


@final
class ServerState:
    """The connections of a server, their clock and their limits.

    Args:
        dispatcher: answers requests.
        limits: limits; may be replaced at any time, also for open connections.
        bodies: budget for request bodies.
        unsent: budget for unsent responses.
        clock: time.
        telemetry: counts and logs refused connections.
        addresses: knows the trusted proxies, which have no limit per peer.

    Attributes:
        date: the value of ``Date``.
        second: seconds since the start: the coarse clock of all timeouts.
        draining: connections close after their next response.
        closing: no further requests are accepted.
        admitted: number of connections, including handshakes and those handed over.
        connections: connections that this server still reads from.
        tasks: running handlers and handshakes.
        turns: shares the event loop among connections.
        read_head: see ``WholeHeads``.
        over_limit_response: the response on a connection beyond the limit.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits,
        bodies: BufferBudget,
        unsent: BufferBudget,
        clock: Clock,
        telemetry: Telemetry,
        *,
        addresses: ClientAddresses | None = None,
    ) -> None:
        self.dispatcher: Final = dispatcher
        self.limits = limits
        self.bodies: Final = bodies
        self.unsent: Final = unsent
        self.connections: Final[set[OpenConnection]] = set()
        self.tasks: Final[set[asyncio.Future[Any]]] = set()
        self.turns: Final = Turns()
        self.read_head: Final = WholeHeads().read
        self.second = 0
        self.draining = False
        self.closing = False
        self._addresses: Final = addresses or ClientAddresses()
        self._clock: Final = clock
        self._once = telemetry.once("http")
        self._refused = telemetry.metrics.refused_connections
        self._parsers: Final[list[RequestParser]] = []
        self._peers: Final[Counter[str]] = Counter()
        self._extra: Final[dict[Admission, Evictable]] = {}
        self.admitted = 0
        self.date = b""
        self._set_date()

        self.over_limit_response: Final = empty_response(UNAVAILABLE, (b"Retry-After", b"%d" % RETRY_SOON))

    # --- connections

    def refresh_logging(self) -> None:
        """Apply a change of ``Observer.logs`` to open connections."""
        for connection in self.connections:
            connection.logs = self.dispatcher.observer.logs

    def admit(self, peer: str) -> Admission | None:
        """Admit a connection from ``peer``; beyond the limit a few, for ``Route.over_limit`` routes only."""
        limits = self.limits
        over_limit = self.admitted >= limits.connections
        if over_limit:
            self._refused.labels("limit").inc()
            self._once.warning("connection limit reached", limit=limits.connections)
            if self.admitted >= limits.connections + limits.extra_connections and not self._make_room():
                return None
        elif limits.per_peer and self._peers[peer] >= limits.per_peer and not self._addresses.trusts(peer):
            over_limit = True
            self._refused.labels("peer").inc()
            self._once.warning("too many connections of one client", peer, limit=limits.per_peer)
            if self._peers[peer] >= limits.per_peer + limits.extra_connections and not self._make_room():
                return None
        self.admitted += 1
        self._peers[peer] += 1
        return Admission(peer, self._released, over_limit=over_limit)

    def established(self, connection: Evictable, admission: Admission) -> None:
        """Register the connection made for an admission."""
        if admission.over_limit and not admission.released:
            self._extra[admission] = connection

    def _make_room(self) -> bool:
        """Close an idle connection beyond the limit, so that it does not block one that has a request."""
        for admission, connection in self._extra.items():
            if connection.idle:
                del self._extra[admission]
                connection.abort()
                return True
        return False

    def _released(self, admission: Admission) -> None:
        self._extra.pop(admission, None)
        self.admitted -= 1
        self._peers[admission.peer] -= 1
        if not self._peers[admission.peer]:
            del self._peers[admission.peer]

    def track(self, task: asyncio.Future[_Result]) -> asyncio.Future[_Result]:
        """Keep a reference to a task until it ends; ``abort`` cancels it."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # --- parsers

    def acquire_parser(self) -> RequestParser:
        """A parser that is between requests, from the pool or new."""
        if self._parsers:
            return self._parsers.pop()
        return RequestParser(self.limits.head_fields, self.limits.head_bytes)

    def release_parser(self, parser: RequestParser) -> None:
        """Return a parser that is ``between`` requests to the pool."""
        if len(self._parsers) < _SPARE_PARSERS and not parser.last:
            self._parsers.append(parser)

    # --- time

    def tick(self) -> None:
        """Called every second: updates ``date`` and checks all connections."""
        self.second += 1
        self._set_date()
        self.dispatcher.cache.sweep()
        self.dispatcher.observer.tick()
        for connection in tuple(self.connections):
            connection.check()

    def _set_date(self) -> None:
        self.date = formatdate(self._clock.wall(), usegmt=True).encode()

    # --- shutdown

    def drain(self) -> None:
        """Close each connection after its next response."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.drain()

    def close_idle(self) -> None:
        """Close idle connections now, and the others after the requests in progress."""
        self.draining = self.closing = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

    def abort(self) -> None:
        """Cancel running handlers and abort all connections."""
        for task in tuple(self.tasks):
            task.cancel()
        for connection in tuple(self.connections):
            connection.abort()

    def wire(self, response: Response) -> bytes:
        """The bytes of a response with ``Connection: close`` that belongs to no particular request."""
        tail = self.dispatcher.finish_tail(self.dispatcher.plain_tail, None, close=True)
        return response.head(self.date, tail) + response.body
