"""What all connections of a server share."""

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
    """What the server does to its connections.

    Attributes:
        logs: each of its requests is told to the observer.
    """

    logs: bool

    def check(self) -> None:
        """A second has passed: has this taken too long?"""
        ...

    def drain(self) -> None:
        """From now on responses end their connections."""
        ...

    def close_if_idle(self) -> None:
        """End now, or after the requests that are being answered."""
        ...

    def abort(self) -> None:
        """End at once."""
        ...


class Evictable(Protocol):
    """A connection that may have to make room for another."""

    @property
    def idle(self) -> bool:
        """Nothing has come that is not answered."""
        ...

    def abort(self) -> None:
        """End at once."""
        ...


@final
class Admission:
    """A connection's place among those that are let in, until it ``leave``s.

    Attributes:
        peer: the client's address.
        spared: there are too many connections, in all or of this client: this one is for one request to a
            route that is spared.
        gone: it has left.
    """

    __slots__ = ("_on_left", "gone", "peer", "spared")

    def __init__(self, peer: str, on_left: Callable[["Admission"], None], *, spared: bool = False) -> None:
        self.peer: Final = peer
        self.spared: Final = spared
        self._on_left: Final = on_left
        self.gone = False

    def leave(self) -> None:
        """The connection is gone, or never came into being; once is enough."""
        if not self.gone:
            self.gone = True
            self._on_left(self)


@final
class ServerState:
    """Connections, their time, and what they may hold.

    Args:
        dispatcher: answers.
        limits: bounds.
        bodies: memory for what clients send.
        unsent: memory for what clients do not take.
        clock: time.
        telemetry: told of refused connections.
        addresses: know the proxies that come for many clients.

    Attributes:
        date: the value of ``Date``.
        second: seconds since the start, as far as anybody measures them.
        draining: responses end their connections.
        closing: no requests after those that are being answered.
        admitted: how many connections there are, handshakes and those that were handed over included.
        connections: those whose requests are answered.
        tasks: handlers that wait.
        turns: share the event loop among connections.
        read_head: see ``WholeHeads``.
        crowded: what a connection too many is told.
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
        self._spared: Final[dict[Admission, Evictable]] = {}
        self.admitted = 0
        self.date = b""
        self._set_date()

        self.crowded: Final = empty_response(UNAVAILABLE, (b"Retry-After", b"%d" % RETRY_SOON))

    # --- connections

    def change_limits(self, limits: Limits) -> None:
        """Keep to these limits from now on, for open connections too."""
        self.limits = limits

    def look_at_logs(self) -> None:
        """The observer wants to be told of other requests than before, those of open connections too."""
        for connection in self.connections:
            connection.logs = self.dispatcher.observer.logs

    def admit(self, peer: str) -> Admission | None:
        """Let one more connection from ``peer`` in, or not; beyond the limit, a few for ``spared`` routes."""
        limits = self.limits
        spared = self.admitted >= limits.connections
        if spared:
            self._refused.labels("limit").inc()
            self._once.warning("connection limit reached", limit=limits.connections)
            if self.admitted >= limits.connections + limits.spared and not self._make_room():
                return None
        elif limits.per_peer and self._peers[peer] >= limits.per_peer and not self._addresses.trusts(peer):
            spared = True
            self._refused.labels("peer").inc()
            self._once.warning("too many connections of one client", peer, limit=limits.per_peer)
            if self._peers[peer] >= limits.per_peer + limits.spared and not self._make_room():
                return None
        self.admitted += 1
        self._peers[peer] += 1
        return Admission(peer, self._left, spared=spared)

    def made(self, connection: Evictable, admission: Admission) -> None:
        """An admitted connection has come into being."""
        if admission.spared and not admission.gone:
            self._spared[admission] = connection

    def _make_room(self) -> bool:
        """End a connection that is spared and asks for nothing: it must not keep out whoever does."""
        for admission, connection in self._spared.items():
            if connection.idle:
                del self._spared[admission]
                connection.abort()
                return True
        return False

    def _left(self, admission: Admission) -> None:
        self._spared.pop(admission, None)
        self.admitted -= 1
        self._peers[admission.peer] -= 1
        if not self._peers[admission.peer]:
            del self._peers[admission.peer]

    def own(self, task: asyncio.Future[_Result]) -> asyncio.Future[_Result]:
        """Keep a task until it ends, and cancel it when the server is aborted."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # --- parsers

    def take_parser(self) -> RequestParser:
        """A parser that has nothing half read."""
        if self._parsers:
            return self._parsers.pop()
        return RequestParser(self.limits.head_fields, self.limits.head_bytes)

    def give_parser(self, parser: RequestParser) -> None:
        """A connection needs its parser no more, which is ``between`` requests."""
        if len(self._parsers) < _SPARE_PARSERS and not parser.last:
            self._parsers.append(parser)

    # --- time

    def tick(self) -> None:
        """A second has passed."""
        self.second += 1
        self._set_date()
        self.dispatcher.cache.sweep()
        self.dispatcher.observer.tick()
        for connection in tuple(self.connections):
            connection.check()

    def _set_date(self) -> None:
        self.date = formatdate(self._clock.wall(), usegmt=True).encode()

    # --- the end

    def drain(self) -> None:
        """Responses end their connections from now on."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.drain()

    def close_idle(self) -> None:
        """No requests after those that are being answered."""
        self.draining = self.closing = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

    def abort(self) -> None:
        """End what is left."""
        for task in tuple(self.tasks):
            task.cancel()
        for connection in tuple(self.connections):
            connection.abort()

    def wire(self, response: Response) -> bytes:
        """A response that ends a connection, whatever was asked, as bytes to be written."""
        tail = self.dispatcher.marked(self.dispatcher.plain_tail, None, close=True)
        return response.head(self.date, tail) + response.body
