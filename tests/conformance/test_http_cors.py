"""What browsers are told (spec/sdk-wire#cors)."""

from collections.abc import AsyncIterator

import pytest

from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.web import Site, ask, serving

ENV = f"/client/env/{ENVIRONMENT}"
ORIGIN = "https://app.example.com"
ROUTES = [
    "/client/auth",
    f"{ENV}/feature-configs",
    f"{ENV}/feature-configs/a",
    f"{ENV}/target-segments",
    f"{ENV}/target-segments/a",
    f"{ENV}/target/t/evaluations",
    f"{ENV}/target/a%2Fb/evaluations/a",
    "/stream",
    f"/metrics/{ENVIRONMENT}",
    "/health",
    "/no/such/route",
    "/api/1.0/client/auth",
]
# As Chromium sends them for the JavaScript SDK, and what the .NET client adds.
ASKED = [
    "content-type,harness-sdk-info",
    "authorization,harness-accountid,harness-environmentid,harness-sdk-info,harness-target",
    "api-key,authorization,cache-control,harness-accountid,harness-environmentid,harness-sdk-info,harness-target",
    "authorization,content-type,harness-accountid,harness-environmentid,harness-sdk-info,harness-target",
    "api-key,user-agent",
]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Any origin may come."""
    async with serving(Site(), config(flag("a"))) as running:
        yield running


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("asked", ASKED)
async def test_a_preflight_needs_no_token(site: Site, path: str, asked: str) -> None:
    """On any route; every header that an SDK sends is named, since a star does not cover them all."""
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": asked,
    }
    got = await ask(site, "OPTIONS", path, headers)
    assert (got.status, got.body) == (204, b"")
    assert got.field("access-control-allow-origin") == "*"
    assert got.field("access-control-allow-methods") == "GET, POST, OPTIONS"
    assert got.field("access-control-max-age") == "7200"
    allowed = (got.field("access-control-allow-headers") or "").lower().split(", ")
    assert set(asked.split(",")) <= set(allowed)
    assert "*" not in allowed


async def test_other_headers_are_allowed_when_asked_for(site: Site) -> None:
    """Applications add their own through the SDK's middleware; odd names are not repeated."""
    asked = "x-tenant, traceparent,x_tenant,!#$%&'*+.^`|~,bad name,bad/name,bad(name),," + ",".join(
        f"x-{number}" for number in range(100)
    )
    got = await ask(site, "OPTIONS", "/client/auth", {"Access-Control-Request-Headers": asked})
    allowed = (got.field("access-control-allow-headers") or "").split(", ")
    assert {"x-tenant", "traceparent", "x_tenant", "!#$%&'*+.^`|~", "x-0"} <= set(allowed)
    assert not {"bad name", "bad/name", "bad(name)"} & set(allowed)
    assert len(allowed) < 60


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{ENV}/feature-configs"),
        ("GET", f"{ENV}/feature-configs/none"),
        ("GET", "/stream"),
        ("GET", "/none"),
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("POST", "/client/auth"),
        ("POST", "/health"),
        ("POST", f"/metrics/{ENVIRONMENT}"),
    ],
)
async def test_every_response_may_be_read(site: Site, method: str, path: str) -> None:
    """A refusal without this looks like a network error to a browser."""
    for headers in ({}, site.bearer()):
        assert (await ask(site, method, path, headers)).field("access-control-allow-origin") == "*"


async def test_origins_may_be_restricted() -> None:
    """A known one is named, any other is not; caches are told that it matters."""
    async with serving(Site(origins=[ORIGIN, "https://b.example/"]), config(flag("a"))) as site:
        for method, path in (("GET", f"{ENV}/feature-configs"), ("OPTIONS", "/client/auth"), ("GET", "/no")):
            known = await ask(site, method, path, site.bearer() | {"Origin": ORIGIN})
            assert known.field("access-control-allow-origin") == ORIGIN
            for headers in ({"Origin": "https://evil.example"}, {}):
                other = await ask(site, method, path, site.bearer() | headers)
                assert other.field("access-control-allow-origin") is None
                assert other.status == known.status
                assert "Origin" in (other.field("vary") or "")
            assert "Origin" in (known.field("vary") or "")
        again = await ask(site, "GET", "/no", {"Origin": "https://b.example"})
        assert again.field("access-control-allow-origin") == "https://b.example"
