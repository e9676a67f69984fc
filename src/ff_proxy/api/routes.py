"""The route table of the SDK port (spec/behaviour#endpoints)."""

from collections.abc import Mapping
from typing import Final

from ff_proxy.api.auth import LONGEST_BODY, Authenticator
from ff_proxy.api.health import Health
from ff_proxy.api.metrics_page import METRICS_HEADERS, MetricsPage
from ff_proxy.api.ofrep import LONGEST_BODY as OFREP_LONGEST_BODY
from ff_proxy.api.ofrep import OFREP_HEADERS, OfrepEvaluations, ofrep_problem
from ff_proxy.api.ofrep_streams import EVENTS_HEADERS, EVENTS_PATH, OfrepStreamRequests
from ff_proxy.api.reads import EVALUATION_HEADERS, READ_HEADERS, Reads
from ff_proxy.api.stream_requests import STREAM_HEADERS, StreamRequests
from ff_proxy.api.usage_posts import UsagePosts
from ff_proxy.http.response import empty_problem
from ff_proxy.http.routes import NO_LIMIT, Route
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import SnapshotRegistry

API_PREFIX: Final = "/api/1.0"
"""All routes are also served below this prefix, as Harness does."""

_ENVIRONMENT: Final = "/client/env/{env}"
_TARGET: Final = _ENVIRONMENT + "/target/{target...}"


def make_routes(
    reads: Reads,
    authenticator: Authenticator,
    usage_posts: UsagePosts,
    stream_requests: StreamRequests,
    health: Health,
    ofrep: OfrepEvaluations,
    ofrep_streams: OfrepStreamRequests,
    snapshots: SnapshotRegistry,
    metrics: MetricsPage | None,
) -> list[Route]:
    """All routes of the SDK port; ``metrics`` is ``None`` if another port serves them."""

    def share(params: Mapping[str, str]) -> str:
        # Only loaded environments have a share of the body budget: clients can make up names.
        environment = EnvironmentId(params["env"])
        return environment if snapshots.get(environment) is not None else ""

    return [
        Route("POST", "/client/auth", authenticator, body_limit=LONGEST_BODY),
        Route("GET", f"{_ENVIRONMENT}/feature-configs", reads.flags, headers=READ_HEADERS),
        Route("GET", f"{_ENVIRONMENT}/feature-configs/{{id}}", reads.flag, headers=READ_HEADERS),
        Route("GET", f"{_ENVIRONMENT}/target-segments", reads.segments, headers=READ_HEADERS),
        Route("GET", f"{_ENVIRONMENT}/target-segments/{{id}}", reads.segment, headers=READ_HEADERS),
        Route("GET", f"{_TARGET}/evaluations", reads.evaluations, headers=EVALUATION_HEADERS),
        Route("GET", f"{_TARGET}/evaluations/{{flag}}", reads.evaluations, headers=EVALUATION_HEADERS),
        Route(
            "GET",
            "/stream",
            stream_requests,
            headers=STREAM_HEADERS,
            problem=empty_problem,
            streams=True,
        ),
        Route(
            "POST",
            "/metrics/{env}",
            usage_posts,
            headers=(b"authorization",),
            body_limit=NO_LIMIT,
            share=share,
        ),
        *_ofrep_routes(ofrep, ofrep_streams),
        *([Route("GET", "/metrics", metrics, headers=METRICS_HEADERS)] if metrics else []),
        Route("GET", "/health", health.overview, over_limit=True),
        Route("GET", "/health/live", health.live, over_limit=True),
        Route("GET", "/health/ready", health.ready, over_limit=True),
    ]


def _ofrep_routes(ofrep: OfrepEvaluations, streams: OfrepStreamRequests) -> list[Route]:
    return [
        Route(
            "POST",
            template,
            handler,
            headers=OFREP_HEADERS,
            body_limit=OFREP_LONGEST_BODY,
            problem=ofrep_problem,
        )
        for template, handler in (
            ("/ofrep/v1/evaluate/flags", ofrep.bulk),
            ("/ofrep/v1/evaluate/flags/{key}", ofrep.single),
        )
    ] + [Route("GET", EVENTS_PATH, streams, headers=EVENTS_HEADERS, problem=empty_problem, streams=True)]
