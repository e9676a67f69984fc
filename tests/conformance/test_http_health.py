"""What operators ask (spec/behaviour#endpoints)."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.web import Site, ask, serving


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One environment."""
    async with serving(Site(), config(flag("a"))) as running:
        yield running


@pytest.mark.parametrize("path", ["/health", "/api/1.0/health"])
async def test_health_is_v1s(site: Site, path: str) -> None:
    """Field by field, ``since`` in seconds; nothing is known of an environment without a status."""
    await site.store.configs.set_status(
        ENVIRONMENT, UpstreamStatus(StreamState.CONNECTED, since=1_700_000_123_999)
    )
    site.environments = [EnvironmentId("other"), ENVIRONMENT]
    got = await ask(site, "GET", path)
    assert got.status == 200
    assert got.json() == {
        "environments": [
            {"id": ENVIRONMENT, "streamStatus": {"state": "CONNECTED", "since": 1_700_000_123}},
            {"id": "other", "streamStatus": {"state": "INITIALIZING", "since": 0}},
        ],
        "cacheStatus": "healthy",
    }


async def test_health_without_environments(site: Site) -> None:
    """As offline."""
    site.environments = []
    assert (await ask(site, "GET", "/health")).json() == {"environments": [], "cacheStatus": "healthy"}


@pytest.mark.parametrize("silent", [False, True])
async def test_a_store_that_is_away_is_unhealthy(
    site: Site, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """And still 200, with what was known last; one that says nothing is waited for a moment only."""
    await site.store.configs.set_status(ENVIRONMENT, UpstreamStatus(StreamState.CONNECTED, since=5000))
    await ask(site, "GET", "/health")

    async def away() -> Mapping[EnvironmentId, UpstreamStatus]:
        if silent:
            await asyncio.Event().wait()
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(site.store.configs, "statuses", away)
    got = (await ask(site, "GET", "/health")).json()
    assert got["cacheStatus"] == "unhealthy"
    assert got["environments"][0]["streamStatus"] == {"state": "CONNECTED", "since": 5}


async def test_live_is_always_200(site: Site) -> None:
    """As long as the process answers at all."""
    site.readiness = Readiness()
    site.state.draining = True
    assert (await ask(site, "GET", "/health/live")).status == 200


@pytest.mark.parametrize(
    ("readiness", "draining", "status", "state"),
    [
        (Readiness(loaded=1), False, 200, "ready"),
        (Readiness(loaded=1, refused=("b",)), False, 200, "ready"),
        (Readiness(loaded=1, degraded=("the store is away",)), False, 200, "degraded"),
        (Readiness(loaded=1, pending=("b",)), False, 503, "starting"),
        (Readiness(refused=("b",)), False, 503, "starting"),
        (Readiness(), False, 503, "starting"),
        (Readiness(loaded=1), True, 503, "draining"),
    ],
)
async def test_readiness(site: Site, readiness: Readiness, draining: bool, status: int, state: str) -> None:
    """Everything loaded or refused for good, something loaded, not going down; always with reasons."""
    site.readiness, site.state.draining = readiness, draining
    got = await ask(site, "GET", "/health/ready")
    assert (got.status, got.json()["status"]) == (status, state)
    assert set(readiness.pending + readiness.degraded + readiness.refused) <= set(got.json()["reasons"])
    assert got.json()["reasons"] or status == 200


async def test_metrics_count_requests_of_both_ways(site: Site) -> None:
    """By route, loaded environment, status and method; health and figures themselves are not counted."""
    path = f"/client/env/{ENVIRONMENT}/feature-configs"
    header = site.bearer()
    for _ in range(3):
        await ask(site, "GET", path, header)
    await ask(site, "HEAD", path, header)
    await ask(site, "GET", path.replace(ENVIRONMENT, "made-up"), header)
    await ask(site, "BREW", "/coffee")
    await ask(site, "GET", "/health")
    await ask(site, "GET", "/stream")
    got = await ask(site, "GET", "/metrics")
    assert (got.status, got.field("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
    counted = {line for line in got.body.decode().splitlines() if "http_requests_total{" in line}

    def line(environment: str, url: str, code: int, method: str, count: int) -> str:
        labels = f'code="{code}",envID="{environment}",method="{method}",url="{url}"'
        return f"ff_proxy_http_requests_total{{{labels}}} {count}.0"

    template = "/client/env/{env}/feature-configs"
    assert counted == {
        line(ENVIRONMENT, template, 200, "GET", 3),
        line(ENVIRONMENT, template, 200, "HEAD", 1),
        line("", template, 403, "GET", 1),
        line("", "/stream", 400, "GET", 1),
    }


async def test_metrics_that_have_a_port_of_their_own_are_not_here() -> None:
    """Otherwise whoever reaches SDKs' port could read them; usage is posted all the same."""
    async with serving(Site(metrics=False), config(flag("a"))) as site:
        assert (await ask(site, "GET", "/metrics")).status == 404
