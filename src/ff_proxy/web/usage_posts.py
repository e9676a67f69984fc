"""``POST /metrics/{env}``: whatever can be read is taken, and the answer is always the same (PRODUCT §3)."""

from typing import Final

from starlette.requests import Request

from ff_proxy.http.body import WholeBody
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.intake import Intake
from ff_proxy.web.access import Access, Outdated
from ff_proxy.web.bodies import Bodies, TooLarge
from ff_proxy.web.needs import Freshness
from ff_proxy.web.paths import Place
from ff_proxy.web.reply import Reply, json_reply
from ff_proxy.web.request import RequestHead

_TAKEN: Final = json_reply(200, b"{}")


class UsagePosts:
    """Takes what SDKs post."""

    def __init__(
        self, access: Access, freshness: Freshness, intake: Intake, bodies: Bodies, telemetry: Telemetry
    ) -> None:
        self._access = access
        self._freshness = freshness
        self._intake = intake
        self._bodies = bodies
        self._dropped = telemetry.metrics.usage_dropped
        self._once = telemetry.once("web")

    async def __call__(self, request: Request, place: Place, head: RequestHead) -> Reply:
        """The reply to one post; raises ``RequestError`` 400, 401 or 403."""
        await self._let_in(place, head)
        try:
            await self._intake.take(place.environment, self._bodies.pieces(request))
        except TooLarge:
            # Some SDKs repeat a body that is refused for ever: it is read off instead, and counted.
            self._drop(place)
            await self._bodies.read_off(request)
        return _TAKEN

    async def answer(self, place: Place, head: RequestHead, body: bytes) -> Reply:
        """The same, of a body that has been read."""
        await self._let_in(place, head)
        if self._bodies.fits(len(body)):
            await self._intake.take(place.environment, WholeBody(body).pieces())
        else:
            self._drop(place)
        return _TAKEN

    def _drop(self, place: Place) -> None:
        self._dropped.labels(place.environment, "too_large").inc()
        self._once.warning("a usage body is too large, it is dropped", place.environment)

    async def _let_in(self, place: Place, head: RequestHead) -> None:
        try:
            self._access.post(head.fields, place.environment)
        except Outdated:
            await self._freshness.refresh(place.environment)
            self._access.post(head.fields, place.environment)
