"""What every ordinary response has in common: preflights, CORS, the echoed id, errors, counting."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry
from ff_proxy.web.cors import Cors
from ff_proxy.web.counts import Counts
from ff_proxy.web.negotiate import echoed_id
from ff_proxy.web.paths import Place, Resource, at_root, locate
from ff_proxy.web.problems import problem
from ff_proxy.web.reply import Fields, Reply
from ff_proxy.web.request import RequestHead, scope_head

PLACE: Final = "ff_proxy.place"
"""Where in an ASGI scope the request's ``Place`` (or ``None``) is."""

HEAD: Final = "ff_proxy.head"
"""Where in an ASGI scope its ``RequestHead`` is."""


class Post(Protocol):
    """What answers a post whose body is here already."""

    async def answer(self, place: Place, head: RequestHead, body: bytes) -> Reply:
        """The reply; raises ``RequestError``."""
        ...


class Envelope:
    """Wraps the application.

    Paths are put at the root: an application sees neither doubled slashes in front nor ``/api/1.0``.

    Args:
        app: the application.
        posts: what answers small posts where they need not go through the application.
        cors: fields for browsers.
        counts: counts requests.
        clock: measures them.
        telemetry: told of them.
    """

    def __init__(
        self,
        app: ASGIApp,
        posts: Mapping[Resource, Post],
        cors: Cors,
        counts: Counts,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._app = app
        self.posts: Final = posts
        self._cors = cors
        self._counts = counts
        self._clock = clock
        self._seconds = telemetry.metrics.request_seconds
        self._body_bytes = telemetry.metrics.body_bytes
        self._log = telemetry.logger("web")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        head = scope_head(scope)
        place = locate(head.path)
        scope[PLACE], scope[HEAD] = place, head
        scope["raw_path"] = at_root(head.path)
        scope["path"] = at_root(scope["path"].encode()).decode()
        sender = _Sender(send, common_fields(head, self._cors))
        began = self._clock.monotonic()
        if head.method == "OPTIONS":
            await send_reply(self._cors.preflight(head.fields), sender)
        else:
            await self._guarded(scope, receive, sender)
        self.note(head, place, sender.status, self._clock.monotonic() - began)

    async def _guarded(self, scope: Scope, receive: Receive, sender: "_Sender") -> None:
        try:
            await self._app(scope, receive, sender)
        except Exception as error:  # noqa: BLE001  (the last resort: a client must get an answer)
            self._log.error("a request failed", path=_template(scope[PLACE]), error=repr(error))
            if not sender.status:
                await send_reply(problem(error), sender)

    def note(self, head: RequestHead, place: Place | None, status: int, seconds: float) -> None:
        """Count a request that took its time."""
        self._counts.tally(place, status, head.method).count += 1
        self._log.debug("request", method=head.method, path=_template(place), status=status, seconds=seconds)
        labels = (_template(place), "" if place is None else self._counts.environment(place))
        self._seconds.labels(*labels).observe(seconds)
        length = head.fields.get(b"content-length", b"")
        if head.method == "POST" and length.isdigit():
            self._body_bytes.labels(*labels).observe(int(length))


class _Sender:
    """Adds the common fields when a response starts, and remembers its status."""

    def __init__(self, send: Send, common: Fields) -> None:
        self._send = send
        self._common = common
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._common]
        await self._send(message)


def common_fields(head: RequestHead, cors: Cors) -> Fields:
    """The fields that every response to ``head`` ends with."""
    fields = cors.fields(head.fields.get(b"origin"))
    echoed = echoed_id(head.fields)
    return fields if echoed is None else (*fields, (b"x-request-id", echoed))


async def send_reply(reply: Reply, send: Callable[[Message], Awaitable[None]]) -> None:
    """A reply as ASGI messages."""
    await send({"type": "http.response.start", "status": reply.status, "headers": list(reply.fields)})
    await send({"type": "http.response.body", "body": reply.body})


def _template(place: Place | None) -> str:
    return "other" if place is None else place.resource.value
