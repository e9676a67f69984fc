"""``POST /metrics/{env}``: accepts usage; malformed parts are dropped, not refused (spec/behaviour#usage)."""

from typing import Final

from ff_proxy.api.access import Access, Outdated
from ff_proxy.api.ports import Freshness
from ff_proxy.http.body import BodyTooLarge
from ff_proxy.http.request import Request
from ff_proxy.http.response import Response, json_response
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.intake import Intake

_ACCEPTED: Final = json_response(200, b"{}")


class UsagePosts:
    """Accepts the usage that SDKs post.

    Args:
        access: authorizes posts.
        freshness: catches up with the store before a post is refused.
        intake: reads bodies as they arrive.
        telemetry: counts and logs bodies that are too large.
    """

    def __init__(self, access: Access, freshness: Freshness, intake: Intake, telemetry: Telemetry) -> None:
        self._access = access
        self._freshness = freshness
        self._intake = intake
        self._dropped = telemetry.metrics.usage_dropped
        self._once = telemetry.once("usage")

    async def __call__(self, request: Request) -> Response:
        """Answer one post; raises ``RequestError`` 400, 401 or 403."""
        environment = EnvironmentId(request.params["env"])
        try:
            self._access.post(request.headers, environment)
        except Outdated:
            await self._freshness.refresh(environment)
            self._access.post(request.headers, environment)
        try:
            await self._intake.receive(environment, request.body.pieces())
        except BodyTooLarge:
            # Some SDKs resend a refused body forever, so drop it, count it, and answer 200.
            self._dropped.labels(environment, "too_large").inc()
            self._once.warning("a usage body is too large, it is dropped", environment)
            await request.body.discard()
        return _ACCEPTED
