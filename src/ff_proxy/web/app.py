"""The ordinary routes: everything that is not hot, and what is hot but came in an unusual way."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from ff_proxy.errors import RequestError, StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry
from ff_proxy.web.auth import Authenticator
from ff_proxy.web.cors import Cors
from ff_proxy.web.counts import Counts
from ff_proxy.web.envelope import HEAD, PLACE, Envelope, Post, send_reply
from ff_proxy.web.health import Health
from ff_proxy.web.paths import Place, Resource
from ff_proxy.web.problems import problem, stream_problem
from ff_proxy.web.reply import Reply
from ff_proxy.web.request import RequestHead
from ff_proxy.web.resources import READABLE, Resources
from ff_proxy.web.usage_posts import UsagePosts

Endpoint = Callable[[Request, Place, RequestHead], Awaitable[Reply]]
_GET: Final = frozenset({"GET", "HEAD"})
_POST: Final = frozenset({"POST"})


class PlaceRoute(BaseRoute):
    """A route to ``resources``, found by the raw path (see ``paths``)."""

    def __init__(self, resources: Collection[Resource], methods: frozenset[str], endpoint: Endpoint) -> None:
        self._resources = frozenset(resources)
        self._methods = methods
        self._endpoint = endpoint

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Starlette."""
        place = scope[PLACE]
        if place is None or place.resource not in self._resources:
            return Match.NONE, {}
        return (Match.FULL if scope["method"] in self._methods else Match.PARTIAL), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette."""
        if scope["method"] not in self._methods:
            allow = ", ".join(sorted({*self._methods, "OPTIONS"}))
            raise HTTPException(405, "method not allowed", headers={"allow": allow})
        await send_reply(await self._endpoint(Request(scope, receive), scope[PLACE], scope[HEAD]), send)


class ReplyResponse(Response):
    """A ``Reply`` where Starlette wants a response."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(status_code=reply.status)
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        await send_reply(self._reply, send)


def make_app(
    resources: Resources,
    authenticator: Authenticator,
    usage_posts: UsagePosts,
    health: Health,
    cors: Cors,
    counts: Counts,
    clock: Clock,
    telemetry: Telemetry,
    *,
    more: Sequence[BaseRoute] = (),
) -> Envelope:
    """The application; ``more`` routes come after the SDKs' own and get paths as at the root."""

    async def read(_: Request, place: Place, head: RequestHead) -> Reply:
        return (await resources.in_time(place, head)).reply

    async def stream(_: Request, __: Place, ___: RequestHead) -> Reply:
        # The edge takes every proper one itself; what is left has a body or cannot be read.
        raise RequestError(400, "a stream is asked for by a GET without a body")

    routes = [
        PlaceRoute(READABLE, _GET, read),
        PlaceRoute([Resource.STREAM], frozenset({"GET"}), stream),
        PlaceRoute([Resource.AUTH], _POST, authenticator),
        PlaceRoute([Resource.USAGE], _POST, usage_posts),
        PlaceRoute([Resource.HEALTH], _GET, _plain(health.overview)),
        PlaceRoute([Resource.LIVE], _GET, _plain(health.live)),
        PlaceRoute([Resource.READY], _GET, _plain(health.ready)),
        PlaceRoute([Resource.METRICS], _GET, _plain(health.metrics)),
        *more,
    ]
    handlers = dict.fromkeys((RequestError, StoreUnavailable, HTTPException, Exception), _explain)
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    posts: dict[Resource, Post] = {Resource.AUTH: authenticator, Resource.USAGE: usage_posts}
    return Envelope(app, posts, cors, counts, clock, telemetry)


def _plain(endpoint: Callable[[], Awaitable[Reply]]) -> Endpoint:
    async def answer(_: Request, __: Place, ___: RequestHead) -> Reply:
        return await endpoint()

    return answer


async def _explain(request: Request, error: Exception) -> Response:
    place: Place | None = request.scope[PLACE]
    on_stream = place is not None and place.resource is Resource.STREAM
    return ReplyResponse(stream_problem(error) if on_stream else problem(error))
