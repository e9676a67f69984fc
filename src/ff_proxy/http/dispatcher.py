"""Turns a request head into a response: cache, routes, handlers, errors, and the common header fields."""

import asyncio
from collections.abc import Awaitable
from typing import Final, final

from httptools import HttpParserInvalidURLError, parse_url

from ff_proxy.bounded import BoundedMap, entry_cost
from ff_proxy.errors import RequestError, StoreUnavailable
from ff_proxy.http.body import WholeBody
from ff_proxy.http.client_address import ClientAddresses
from ff_proxy.http.cors import Cors
from ff_proxy.http.failure_limit import FailureLimit
from ff_proxy.http.handler import Cacheable, Handover, Outcome
from ff_proxy.http.headers import DeclaredHeaders
from ff_proxy.http.limits import Limits
from ff_proxy.http.negotiate import request_id
from ff_proxy.http.observer import Answered, Observer
from ff_proxy.http.parser import Head
from ff_proxy.http.request import Request
from ff_proxy.http.response import (
    RETRY_SOON,
    UNAVAILABLE,
    Response,
    field_lines,
    problem,
    refusal_for,
    with_request_id,
)
from ff_proxy.http.response_cache import Entry, ResponseCache
from ff_proxy.http.routes import Match, Route, Routes
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry

_LONGEST_PATH: Final = 512
_ERRORS: Final = 400
_CLOSE: Final = b"Connection: close\r\n\r\n"
_OLD_PROXY: Final = "streams need HTTP/1.1: set the proxy in front to use HTTP/1.1"


@final
class Exchange:
    """One request and the state of its answer.

    Attributes:
        head: the request head.
        path: the target's path, as sent.
        query: the target's query, as sent.
        match: the route template that the path matches, if any.
        route: the template's route for the method, if any.
        request_id: the ``X-Request-ID`` to echo, if any.
        peer: the peer's address, set when the handler starts.
        began: when the head arrived, in monotonic seconds.
        cause: the error message sent to the client, if any.
        answered: the response has been written; the request body may still be arriving.
    """

    __slots__ = (
        "answered",
        "began",
        "cause",
        "head",
        "match",
        "path",
        "peer",
        "query",
        "request_id",
        "route",
    )

    def __init__(self, head: Head, path: bytes, query: bytes, match: Match | None, began: float) -> None:
        self.head: Final = head
        self.path: Final = path
        self.query: Final = query
        self.match: Final = match
        self.route: Final[Route | None] = None if match is None else match.routes.get(head.method)
        sent = head.fields.get(b"x-request-id")
        self.request_id: Final = None if sent is None else request_id(sent)
        self.peer = ""
        self.began: Final = began
        self.cause = ""
        self.answered = False

    @property
    def share(self) -> str:
        """The share of the buffer budget that its body is charged to; empty if the route names none."""
        if self.match is None or self.route is None or self.route.share is None:
            return ""
        return self.route.share(self.match.params)

    @property
    def streams(self) -> bool:
        """Whether the response has no end."""
        return self.route is not None and self.route.streams

    def body_limit(self, limits: Limits) -> int:
        """The longest body that is read, in bytes; nothing is read of one that no route takes."""
        return 0 if self.route is None else min(self.route.body_limit, limits.body_bytes)

    def overdue(self, age: int, limits: Limits) -> RequestError | None:
        """The timeout that has expired ``age`` seconds after its head, the end of its body or its answer."""
        body = self.head.body
        if body is None or body.ended or body.full:
            if age <= limits.answer_seconds:
                return None
            return RequestError(UNAVAILABLE, "no answer in time", retry_after=RETRY_SOON)
        return None if age <= limits.body_seconds + body.received // limits.body_rate else too_slow()


def too_slow() -> RequestError:
    """408: the request did not arrive in time."""
    return RequestError(408, "the request took too long to arrive")


def match_cost(path: bytes, match: Match) -> int:
    """The bytes of a cached match, without the routes, which exist anyway."""
    return entry_cost(path, (match.params, match.raw_params))


@final
class Dispatcher:
    """Answers the requests of all connections.

    Args:
        routes: the route table.
        cache: cached responses.
        cors: the CORS policy.
        observer: gets every answered request.
        clock: times requests.
        telemetry: logs handlers that fail.
        addresses: finds client addresses.
        failures: limits how often a client may fail to authenticate.
        budget: bytes for cached route matches.

    Attributes:
        response_by_bytes: looks up a cached response by a request's exact bytes.
    """

    def __init__(
        self,
        routes: Routes,
        cache: ResponseCache,
        cors: Cors,
        observer: Observer,
        clock: Clock,
        telemetry: Telemetry,
        *,
        addresses: ClientAddresses | None = None,
        failures: FailureLimit | None = None,
        budget: int,
    ) -> None:
        self._routes: Final = routes
        self.cache: Final = cache
        self.observer: Final = observer
        self._clock: Final = clock
        self._addresses: Final = addresses or ClientAddresses()
        self._failures: Final = failures
        self._log = telemetry.logger("http")
        self._once = telemetry.once("http")
        dropped = telemetry.dropped("routes")
        self._matches: Final[BoundedMap[bytes, Match]] = BoundedMap(
            budget // 2, cost=match_cost, dropped=dropped
        )
        self._match_of: Final = self._matches.peek
        # By target: the header fields in the cache key of its responses.
        self._keyed: Final[BoundedMap[bytes, tuple[bytes, ...]]] = BoundedMap(budget // 2, dropped=dropped)
        self._names_of: Final = self._keyed.peek
        self._by_key: Final = cache.by_key
        self.response_by_bytes: Final = cache.by_bytes
        self._vary: Final = {
            route.template: b"Vary: %b\r\n" % route.vary for route in routes.all if route.vary
        }
        self.allow_origins(cors)

    def allow_origins(self, cors: Cors) -> None:
        """Change the CORS policy; clears the cache, since cached responses carry CORS fields."""
        self._cors = cors
        # If responses differ by origin, it is part of the cache key.
        origin = () if cors.constant else (b"origin",)
        self._keyed_by = {
            route.template: (*route.headers, *origin) for route in self._routes.all if route.method == "GET"
        }
        shared = field_lines(cors.fields(None)) + b"\r\n"
        self._tails = {template: vary + shared for template, vary in self._vary.items()}
        self.plain_tail = shared
        self._keyed.clear()
        self.cache.clear()

    # --- finding

    def exchange(self, head: Head) -> Exchange:
        """Find the route of a request; raises ``RequestError`` 400 for an invalid target."""
        path, query = _split(head.target)
        match = self._match_of(path)
        if match is None:
            match = self._routes.match(path)
            if match is not None and not match.open:
                self._remember(path, match)
        return Exchange(head, path, query, match, self._clock.monotonic())

    def find(self, head: Head) -> Entry | None:
        """The cached response to an equal request, if it is still valid."""
        names = self._names_of(head.target)
        if names is None or head.method != "GET" or head.body is not None:
            return None
        entry = self._by_key((head.target, *map(head.fields.get, names)))
        # What Entry.valid says, without the call.
        if entry is not None and entry.lease.current and (entry.check is None or entry.check()):
            return entry
        return None

    def _remember(self, path: bytes, match: Match) -> None:
        if len(path) <= _LONGEST_PATH:
            self._matches.put(path, match)

    # --- answering

    def start(self, exchange: Exchange, peer: str) -> Outcome | Awaitable[Outcome]:
        """Call the handler; errors become responses."""
        head, match, route = exchange.head, exchange.match, exchange.route
        exchange.peer = peer
        if head.method == "OPTIONS":
            return self._cors.preflight(head.fields)
        if match is None:
            return self.problem(exchange, RequestError(404, "there is no such route"))
        if route is None:
            return self.problem(exchange, RequestError(405, "method not allowed"))
        if route.streams and head.body is not None:
            refusal = RequestError(400, "a stream request must not have a body")
            return self.problem(exchange, refusal)
        request = Request(
            route.method,
            exchange.path,
            exchange.query,
            DeclaredHeaders(head.fields, route.headers),
            match.params,
            match.raw_params,
            "" if route.method == "GET" else self._client(exchange),
            WholeBody() if head.body is None else head.body,
        )
        try:
            return route.handler(request)
        except Exception as error:  # noqa: BLE001  (the last resort: a client must get an answer)
            return self.problem(exchange, error)

    def resolve_task(self, exchange: Exchange, ended: asyncio.Future[Outcome]) -> Response | Handover:
        """The response of a handler that was awaited in the task ``ended``."""
        if ended.cancelled():
            return self.problem(exchange, RuntimeError("a library cancelled the handler"))
        try:
            return self.resolve(exchange, ended.result())
        except Exception as error:  # noqa: BLE001  (as above)
            return self.problem(exchange, error)

    def resolve(self, exchange: Exchange, outcome: Outcome) -> Response | Handover:
        """The response of an ``outcome``; a ``Cacheable`` one is put into the cache."""
        if isinstance(outcome, Cacheable):
            match = exchange.match
            head = exchange.head
            if match is not None and head.method == "GET" and head.body is None:
                names = self._keyed_by[match.template]
                key = (head.target, *map(head.fields.get, names))
                tally = self.observer.tally("GET", match, outcome.response.status)
                self.cache.put(key, outcome, self.tail(exchange), tally)
                self._keyed.put(head.target, names)
                if match.open:
                    self._remember(exchange.path, match)
            return outcome.response
        if isinstance(outcome, Handover) and exchange.head.http_1_0:
            self._once.warning(_OLD_PROXY)
            return self.problem(exchange, RequestError(UNAVAILABLE, _OLD_PROXY, retry_after=RETRY_SOON))
        return outcome

    def problem(self, exchange: Exchange, error: Exception) -> Response:
        """The response for an error; also applies the limit on failed authentications."""
        if not isinstance(error, RequestError | StoreUnavailable):
            template = "other" if exchange.match is None else exchange.match.template
            self._log.error("a request failed", route=template, error=repr(error), exc_info=error)
        refusal = refusal_for(error)
        if self._failures is not None and self._failures.counts(refusal):
            refusal = self._failures.apply(self._client(exchange), refusal)
        exchange.cause = refusal.message
        if exchange.match is None:
            return problem(refusal)
        if exchange.route is not None:
            return exchange.route.problem(refusal)
        other = next(iter(exchange.match.routes.values()))
        return other.problem(refusal, (b"Allow", exchange.match.allow))

    def _client(self, exchange: Exchange) -> str:
        return self._addresses.find(exchange.peer, exchange.head.fields.get(b"x-forwarded-for"))

    # --- common header fields

    def tail(self, exchange: Exchange) -> bytes:
        """The lines of the common fields, without the request id, and the empty line."""
        origin = exchange.head.fields.get(b"origin")
        template = "" if exchange.match is None else exchange.match.template
        if self._cors.constant or origin is None:
            return self._tails.get(template, self.plain_tail)
        return self._vary.get(template, b"") + field_lines(self._cors.fields(origin)) + b"\r\n"

    @staticmethod
    def finish_tail(tail: bytes, echoed: bytes | None, *, close: bool) -> bytes:
        """``tail`` with the request id, if any, and ``Connection: close`` if the connection ends."""
        if echoed is not None:
            tail = with_request_id(tail, echoed)
        return tail[:-2] + _CLOSE if close else tail

    # --- metrics and access log

    def note(self, exchange: Exchange, status: int, peer: str, label: str = "") -> None:
        """Count and time an answered request, and pass it to the access log if that is on.

        A request with a ``label`` was handed over and lasts for hours: it is not timed.
        """
        observer = self.observer
        match, head = exchange.match, exchange.head
        seconds = self._clock.monotonic() - exchange.began
        tally = observer.tally(head.method, match, status, label)
        tally.count += 1
        if not label:
            tally.took(seconds)
        if match is not None and head.body is not None and head.body.declared is not None:
            observer.body_bytes(match, head.body.declared)
        if not (observer.logs or (observer.logs_errors and status >= _ERRORS)):
            return
        observer.answered(_access_record(exchange, status, seconds, peer, label))

    def note_repeated(self, exact: bytes, head: Head, status: int, peer: str, seconds: float) -> None:
        """Log a request that was answered from the cache and is already counted.

        ``exact`` is the whole request if it was found by its bytes, else empty: such bytes may never recur.
        """
        self.observer.answered(_access_record(self.exchange(head), status, seconds, peer, ""), exact)


def _access_record(exchange: Exchange, status: int, seconds: float, peer: str, label: str) -> Answered:
    fields = exchange.head.fields
    return Answered(
        exchange.head.method,
        exchange.path,
        exchange.match,
        status,
        seconds,
        peer,
        exchange.request_id,
        fields.get(b"harness-sdk-info") or fields.get(b"user-agent"),
        exchange.cause,
        label,
        fields.get(b"traceparent"),
    )


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a target in any of its forms (RFC 9112 §3.2)."""
    if target[:1] == b"/":
        if b"#" in target:
            target = target.partition(b"#")[0]
        path, _, query = target.partition(b"?")
        return path, query
    if target == b"*":
        return target, b""
    try:
        url = parse_url(target)
    except HttpParserInvalidURLError as error:
        raise RequestError(400, "the request target is not a valid URL") from error
    return url.path or b"/", url.query or b""
