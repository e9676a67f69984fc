"""From a request's head to its response: cache, routes, handlers, errors, and the fields that all share."""

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
    echoing,
    field_lines,
    problem,
    refused,
)
from ff_proxy.http.response_cache import Entry, ResponseCache
from ff_proxy.http.routes import Match, Route, Routes
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry

_LONGEST_PATH: Final = 512
_ERRORS: Final = 400
_CLOSE: Final = b"Connection: close\r\n\r\n"
_OLD_PROXY: Final = "a stream was asked for in HTTP/1.0: let the proxy in front use HTTP/1.1"


@final
class Exchange:
    """One request on its way to its response.

    Attributes:
        head: what came.
        path: of its target, as sent.
        query: likewise.
        match: the template that the path fits, if any.
        route: its route for the method, if any.
        request_id: to be echoed.
        peer: where it came from, once it is being answered.
        began: monotonic seconds.
        cause: what its answer says is wrong, if anything.
        answered: the response is on its way; the body may not have come to its end.
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
        """On whose account its body is held; empty if the route does not say."""
        if self.match is None or self.route is None or self.route.share is None:
            return ""
        return self.route.share(self.match.params)

    def overdue(self, age: int, limits: Limits) -> RequestError | None:
        """Why it has to end, ``age`` seconds after its head, its body's end or its answer."""
        body = self.head.body
        if body is None or body.ended or body.full:
            if age <= limits.answer_seconds:
                return None
            return RequestError(UNAVAILABLE, "no answer in time", retry_after=RETRY_SOON)
        return None if age <= limits.body_seconds + body.received // limits.body_rate else too_slow()


def too_slow() -> RequestError:
    """What a client is told that took too long."""
    return RequestError(408, "the request took too long to arrive")


def match_cost(path: bytes, match: Match) -> int:
    """What it costs to remember where a path leads; the routes and all behind them are there anyway."""
    return entry_cost(path, (match.params, match.raw_params))


@final
class Dispatcher:
    """Answers requests, whatever connection they came on.

    Args:
        routes: all there are.
        cache: responses that were given before.
        cors: fields for browsers.
        observer: told of every request.
        clock: measures those that wait.
        telemetry: told of handlers that fail.
        addresses: tell clients apart.
        failures: bounds how often a client is refused.
        budget: bytes to remember paths in.

    Attributes:
        response_by_bytes: a response by a request's exact bytes.
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
        self._failures: Final = failures or FailureLimit(None)
        self._log = telemetry.logger("http")
        self._once = telemetry.once("http")
        dropped = telemetry.dropped("routes")
        self._matches: Final[BoundedMap[bytes, Match]] = BoundedMap(
            budget // 2, cost=match_cost, dropped=dropped
        )
        self._match_of: Final = self._matches.recall
        # By what fields the responses to a target are found again, if there are any.
        self._keyed: Final[BoundedMap[bytes, tuple[bytes, ...]]] = BoundedMap(budget // 2, dropped=dropped)
        self._names_of: Final = self._keyed.recall
        self._by_key: Final = cache.by_key
        self.response_by_bytes: Final = cache.by_bytes
        self._vary: Final = {
            route.template: b"Vary: %b\r\n" % route.vary for route in routes.all if route.vary
        }
        self.allow_origins(cors)

    def allow_origins(self, cors: Cors) -> None:
        """Let these origins read responses from now on; what is remembered for others is forgotten."""
        self._cors = cors
        # A response that differs by origin is found again by that as well.
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
        """What ``head`` asks for; raises ``RequestError`` 400 for a target that is none."""
        path, query = _split(head.target)
        match = self._match_of(path)
        if match is None:
            match = self._routes.match(path)
            if match is not None and not match.open:
                self._remember(path, match)
        return Exchange(head, path, query, match, self._clock.monotonic())

    def find(self, head: Head) -> Entry | None:
        """The response that was given before to an equal request, if it is still the one to give."""
        names = self._names_of(head.target)
        if names is None or head.method != "GET" or head.body is not None:
            return None
        entry = self._by_key((head.target, *map(head.fields.get, names)))
        # What Entry.good says, without the call.
        if entry is not None and entry.lease.current and (entry.check is None or entry.check()):
            return entry
        return None

    def _remember(self, path: bytes, match: Match) -> None:
        if len(path) <= _LONGEST_PATH:
            self._matches.put(path, match)

    # --- answering

    def start(self, exchange: Exchange, peer: str) -> Outcome | Awaitable[Outcome]:
        """Call the handler."""
        head, match, route = exchange.head, exchange.match, exchange.route
        exchange.peer = peer
        if head.method == "OPTIONS":
            return self._cors.preflight(head.fields)
        if match is None:
            return self.problem(exchange, RequestError(404, "there is no such route"))
        if route is None:
            return self.problem(exchange, RequestError(405, "method not allowed"))
        if route.streams and head.body is not None:
            refusal = RequestError(400, "a stream is asked for by a GET without a body")
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

    def outcome_of(self, exchange: Exchange, ended: asyncio.Future[Outcome]) -> Response | Handover:
        """What is to be sent when the handler has been waited for."""
        if ended.cancelled():
            return self.problem(exchange, RuntimeError("a library cancelled the handler"))
        try:
            return self.settled(exchange, ended.result())
        except Exception as error:  # noqa: BLE001  (as above)
            return self.problem(exchange, error)

    def settled(self, exchange: Exchange, outcome: Outcome) -> Response | Handover:
        """What is to be sent for ``outcome``, which is kept if it may be given again."""
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
        if isinstance(outcome, Handover) and exchange.head.old:
            self._once.warning(_OLD_PROXY)
            return self.problem(exchange, RequestError(UNAVAILABLE, _OLD_PROXY, retry_after=RETRY_SOON))
        return outcome

    def problem(self, exchange: Exchange, error: Exception) -> Response:
        """The response to an error."""
        if not isinstance(error, RequestError | StoreUnavailable):
            template = "other" if exchange.match is None else exchange.match.template
            self._log.error("a request failed", route=template, error=repr(error), exc_info=error)
        refusal = refused(error)
        if self._failures.counts(refusal):
            refusal = self._failures.judge(self._client(exchange), refusal)
        exchange.cause = refusal.message
        if exchange.match is None:
            return problem(refusal)
        if exchange.route is not None:
            return exchange.route.problem(refusal)
        other = next(iter(exchange.match.routes.values()))
        return other.problem(refusal, (b"Allow", exchange.match.allow))

    def _client(self, exchange: Exchange) -> str:
        return self._addresses.find(exchange.peer, exchange.head.fields.get(b"x-forwarded-for"))

    # --- what all responses share

    def tail(self, exchange: Exchange) -> bytes:
        """The lines of the common fields, without the request's id, and the empty line."""
        origin = exchange.head.fields.get(b"origin")
        template = "" if exchange.match is None else exchange.match.template
        if self._cors.constant or origin is None:
            return self._tails.get(template, self.plain_tail)
        return self._vary.get(template, b"") + field_lines(self._cors.fields(origin)) + b"\r\n"

    @staticmethod
    def marked(tail: bytes, echoed: bytes | None, *, close: bool) -> bytes:
        """``tail`` with an id, and the end of the connection."""
        if echoed is not None:
            tail = echoing(tail, echoed)
        return tail[:-2] + _CLOSE if close else tail

    # --- telling

    def note(self, exchange: Exchange, status: int, peer: str, label: str = "") -> None:
        """Count and time a request that has been answered, and tell of it if somebody wants that.

        One that was handed over, which says so by its ``label``, goes on for hours: it is not timed.
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
        observer.answered(_told(exchange, status, seconds, peer, label))

    def note_repeated(self, exact: bytes, head: Head, status: int, peer: str, seconds: float) -> None:
        """Tell of a request that was answered with what is remembered, and counted.

        ``exact`` is all of it, if the answer was found by that: whatever else came may never come again.
        """
        told = _told(self.exchange(head), status, seconds, peer, "")
        if exact:
            self.observer.learn(exact, told)
        else:
            self.observer.answered(told)


def _told(exchange: Exchange, status: int, seconds: float, peer: str, label: str) -> Answered:
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
        raise RequestError(400, "the target of the request is no URL") from error
    return url.path or b"/", url.query or b""
