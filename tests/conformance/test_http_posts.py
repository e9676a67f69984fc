"""Posts are answered alike, whatever pieces they come in."""

from collections.abc import AsyncIterator
from functools import partial
from typing import cast

import pytest

from ff_proxy.http.connection import Connection
from ff_proxy.model.keys import EnvironmentId
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import Response, Site, ask, connected, message, serving, until

AUTH = "/client/auth"
USAGE = f"/metrics/{ENVIRONMENT}"
FLAGS = f"/client/env/{ENVIRONMENT}/feature-configs"
OTHER = EnvironmentId("11111111-2222-4333-8444-555555555555")
GOOD = f'{{"apiKey":"{KEY}","target":{{"identifier":"jane"}}}}'.encode()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Time stands still, so that tokens are the same."""
    other = config(flag("b"), environment=OTHER, keys=("another",))
    async with serving(Site(clock=FakeClock()), config(flag("a")), other) as running:
        yield running


async def ask_in_two(site: Site, path: str, headers: dict[str, str], body: bytes) -> Response:
    """A post whose body comes when its head has been looked at."""
    whole = message("POST", path, headers, body)
    async with connected(site) as wire:
        await wire.send(whole[: -len(body)])
        await until(lambda: any(cast("Connection", one)._exchange for one in site.state.connections))
        await wire.send(body)
        return await wire.response()


async def test_a_body_may_come_with_its_head_or_after_it(site: Site) -> None:
    """Byte for byte, what is refused as well."""
    bearer = site.bearer()
    requests = [
        (AUTH, {}, GOOD),
        (f"/api/1.0/{AUTH}?cluster=1", {"Content-Type": "text/plain", "X-Request-ID": "one"}, GOOD),
        (AUTH, {"Connection": "close", "Origin": "https://a.example"}, GOOD),
        (AUTH, {}, b'{"apiKey":"unknown"}'),
        (AUTH, {}, b"{"),
        (AUTH, {}, b"[]"),
        (USAGE, bearer, b"{}"),
        (f"{USAGE}/", bearer | {"Upgrade": "h2c", "Connection": "upgrade"}, b"{}"),
        (USAGE, {}, b"{}"),
        (USAGE, {"Authorization": "Bearer x"}, b"{}"),
        (f"/metrics/{OTHER}", bearer, b"{}"),
        (FLAGS, bearer, b"{}"),
        ("/nowhere", bearer, b"{}"),
    ]
    here = [await ask(site, "POST", *request) for request in requests]
    taken, asked = list(site.posts.bodies), len(site.registrar.registered)
    later = [await ask_in_two(site, *request) for request in requests]
    assert [one.status for one in here] == [200, 200, 200, 403, 400, 400, 200, 200, 401, 401, 403, 405, 404]
    assert [one.undated for one in here] == [one.undated for one in later]
    assert site.posts.bodies == taken * 2
    assert len(site.registrar.registered) == asked * 2


async def test_what_follows_is_answered_afterwards(site: Site) -> None:
    """In order, although a post may wait; a body that is not whole yet is waited for."""
    post, read = message("POST", USAGE, site.bearer(), b'{"a":1}'), message("GET", FLAGS, site.bearer())
    async with connected(site) as wire:
        await wire.send(post + read + post + post[:-1])
        assert [(await wire.response()).body for _ in range(3)] == [
            b"{}",
            (await ask(site, "GET", FLAGS, site.bearer())).body,
            b"{}",
        ]
        await wire.send(post[-1:] + message("POST", AUTH, {}, GOOD))
        assert (await wire.response()).body == b"{}"
        assert (await wire.response()).json()["authToken"] == site.token()
    assert site.posts.bodies == [(ENVIRONMENT, b'{"a":1}')] * 3


async def test_requests_are_counted_and_timed(site: Site) -> None:
    """Whichever way the body comes."""
    for put in (ask_in_two, partial(ask, method="POST")):
        await put(site, path=AUTH, headers={}, body=GOOD)
        await put(site, path=USAGE, headers=site.bearer(), body=b"{}")
    metrics = (await ask(site, "GET", "/metrics")).body.decode().splitlines()
    for place in (
        'envID="",method="POST",url="/client/auth"',
        f'envID="{ENVIRONMENT}",method="POST",url="/metrics/{{env}}"',
    ):
        assert f'ff_proxy_http_requests_total{{code="200",{place}}} 2.0' in metrics
        labels = place.replace('method="POST",', "")
        assert f"ff_proxy_http_requests_duration_count{{{labels}}} 2.0" in metrics
        assert f"ff_http_requests_content_length_histogram_count{{{labels}}} 2.0" in metrics


async def test_the_limit_of_bodies_holds() -> None:
    """However small it is."""
    async with serving(Site(max_body=10), config(flag("a"))) as site:
        assert (await ask(site, "POST", AUTH, {}, GOOD)).status == 413
        assert (await ask(site, "POST", USAGE, site.bearer(), b'{"a":12345}')).body == b"{}"
        assert (await ask(site, "POST", USAGE, site.bearer(), b'{"a":123}')).body == b"{}"
        assert site.posts.bodies == [(ENVIRONMENT, b'{"a":123}')]
