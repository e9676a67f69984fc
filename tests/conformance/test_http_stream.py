"""Opening ``/stream`` over the wire.

See spec/behaviour#endpoints, spec/sdk-wire#stream-head, spec/sdk-wire#reconnects.
"""

from collections.abc import AsyncIterator

import pytest

from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.store.protocol import SetKeys
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import Response, Site, Wire, ask, connected, message, serving, until

OTHER = EnvironmentId("11111111-2222-4333-8444-555555555555")
OTHER_KEY = "the-other-server-key"
HEARTBEAT = b"3\r\n:\n\n\r\n"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Two environments, the first with two keys."""
    configs = (
        config(flag("a"), keys=(KEY, "second")),
        config(flag("b"), environment=OTHER, keys=(OTHER_KEY,)),
    )
    async with serving(Site(), *configs) as running:
        yield running


async def opened(wire: Wire) -> Response:
    """The head of a stream, which its first heartbeat follows at once."""
    got = await wire.response()
    assert await wire.reader.readexactly(len(HEARTBEAT)) == HEARTBEAT
    return got


@pytest.mark.parametrize("path", ["/stream", "//stream", "/api/1.0/stream?cluster=1&stream=%2A"])
async def test_a_stream_opens_with_a_heartbeat(site: Site, path: str) -> None:
    """Its head says what proxies, browsers and Python need to know."""
    async with connected(site) as wire:
        await wire.send(message("GET", path, site.bearer() | {"API-Key": KEY, "X-Request-ID": "r-1"}))
        got = await opened(wire)
    assert got.status == 200
    assert got.field("content-type") == "text/event-stream"
    assert (got.field("cache-control") or "").startswith("no-cache")
    assert got.field("transfer-encoding") == "chunked"
    assert got.field("connection") == "close"
    assert got.field("x-accel-buffering") == "no"
    assert got.field("access-control-allow-origin") == "*"
    assert got.field("x-request-id") == "r-1"
    assert got.field("content-encoding") is None
    assert got.field("content-length") is None


async def test_another_key_of_the_environment_will_do(site: Site) -> None:
    """Rotated keys: the token was issued for the one, the stream is opened with the other."""
    async with connected(site) as wire:
        await wire.send(message("GET", "/stream", site.bearer() | {"API-Key": "second"}))
        assert (await opened(wire)).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"API-Key": ""}, 400),
        ({"API-Key": " "}, 400),
        ({"Authorization": "token"}, 400),
        ({"API-Key": KEY}, 401),
        ({"API-Key": "unknown"}, 401),
        ({"API-Key": KEY, "Authorization": "Bearer x.y.z"}, 401),
        ({"API-Key": "unknown", "Authorization": "token"}, 403),
        ({"API-Key": OTHER_KEY, "Authorization": "token"}, 403),
    ],
)
async def test_a_refusal_is_empty(site: Site, headers: dict[str, str], status: int) -> None:
    """With a body, JavaScript would take it for a stream and never poll; the connection goes on."""
    headers = {
        name: site.bearer()["Authorization"] if value == "token" else value for name, value in headers.items()
    }
    async with connected(site) as wire:
        for _ in range(2):
            await wire.send(message("GET", "/stream", headers))
            got = await wire.response()
            assert (got.status, got.body, got.field("content-length")) == (status, b"", "0")
            assert got.field("access-control-allow-origin") == "*"


async def test_a_revoked_key_opens_nothing(site: Site) -> None:
    """Neither does the token that was issued for it."""
    header = site.bearer()
    await site.store.configs.apply(ENVIRONMENT, SetKeys(frozenset([hash_key("second")])))
    await site.snapshots.resync()
    for key in (KEY, "second"):
        got = await ask(site, "GET", "/stream", header | {"API-Key": key})
        assert (got.status, got.body) == (403, b"")


async def test_an_environment_that_is_not_loaded_is_503() -> None:
    """Empty too, and soon to be tried again."""
    async with serving(Site(), config(flag("a"))) as before:
        header = before.bearer()
    async with serving(Site(loading=0.05)) as site:
        got = await ask(site, "GET", "/stream", header | {"API-Key": KEY})
        assert (got.status, got.body, got.field("content-length")) == (503, b"", "0")
        assert got.field("retry-after") == "2"


async def test_a_stream_waits_for_an_environment_that_is_being_loaded() -> None:
    """No head before it can be opened: old JavaScript would never stream again after a 503 (trap 50)."""
    async with serving(Site(), config(flag("a"))) as before:
        header = before.bearer()
    async with serving(Site()) as site, connected(site) as wire, connected(site) as leaving:
        for one in (wire, leaving):
            await one.send(message("GET", "/stream", header | {"API-Key": KEY}))
        await until(lambda: len(site.state.tasks) == 2)
        leaving.writer.close()
        await until(lambda: len(site.state.tasks) == 1)
        await site.hold(config(flag("a")))
        assert (await opened(wire)).status == 200


async def test_a_bad_token_does_not_wait() -> None:
    """Nothing would make it better."""
    async with serving(Site()) as empty:
        got = await ask(empty, "GET", "/stream", {"API-Key": KEY, "Authorization": "Bearer a.b.c"})
        assert (got.status, got.body) == (401, b"")


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT"])
async def test_other_methods_are_405(site: Site, method: str) -> None:
    """Empty as well."""
    got = await ask(site, method, "/stream", site.bearer() | {"API-Key": KEY})
    assert (got.status, got.body, got.field("content-length")) == (405, b"", "0")


async def test_http_1_0_cannot_carry_a_stream(site: Site) -> None:
    """A proxy in front that speaks it is told to come back; SDKs then poll."""
    async with connected(site) as wire:
        request = message("GET", "/stream", site.bearer() | {"API-Key": KEY})
        await wire.send(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        got = await wire.response()
        assert (got.status, got.body, got.field("content-length")) == (503, b"", "0")
        assert await wire.closed() == b""


async def test_a_stream_may_follow_other_requests(site: Site) -> None:
    """Hot or not, on the same connection and without waiting for their responses."""
    stream = message("GET", "/stream", site.bearer() | {"API-Key": KEY})
    read = message("GET", f"/client/env/{ENVIRONMENT}/feature-configs", site.bearer())
    async with connected(site) as wire:
        await wire.send(message("POST", f"/metrics/{ENVIRONMENT}", site.bearer(), b"{}") + read + stream)
        assert [(await wire.response()).status for _ in range(2)] == [200, 200]
        assert (await opened(wire)).status == 200


async def test_what_follows_a_stream_is_not_answered(site: Site) -> None:
    """The connection is the stream's for good."""
    stream = message("GET", "/stream", site.bearer() | {"API-Key": KEY})
    async with connected(site) as wire:
        await wire.send(stream + message("GET", "/health"))
        await opened(wire)
        await wire.send(message("GET", "/health"))
        await site.hub.drain(0)
        assert b"HTTP" not in await wire.closed()


@pytest.mark.parametrize(
    ("agent", "end"), [("python-requests/2.32.5", b""), ("okhttp/4.12.0", b"0\r\n\r\n"), ("", b"0\r\n\r\n")]
)
async def test_an_sdk_that_reads_beneath_the_chunks_gets_no_last_one(
    site: Site, agent: str, end: bytes
) -> None:
    """Only the connection's end tells it, also through a load balancer (spec/sdk-wire#trap-16)."""
    fields = site.bearer() | {"API-Key": KEY} | ({"User-Agent": agent} if agent else {})
    async with connected(site) as wire:
        await wire.send(message("GET", "/stream", fields))
        await opened(wire)
        await site.hub.drain(0)
        assert await wire.closed() == end


async def test_with_bypass_the_key_says_which_environment() -> None:
    """No token is asked for; a key nobody knows is still refused (spec/behaviour#combinations)."""
    async with serving(Site(bypass=True), config(flag("a"))) as site:
        async with connected(site) as wire:
            await wire.send(message("GET", "/stream", {"API-Key": KEY}))
            assert (await opened(wire)).status == 200
        assert (await ask(site, "GET", "/stream", {"API-Key": "unknown"})).status == 403
        assert (await ask(site, "GET", "/stream")).status == 400


async def test_a_stream_that_ends_makes_room() -> None:
    """It counts as a connection until then."""
    async with serving(Site(), config(flag("a"))) as site:
        async with connected(site) as wire:
            await wire.send(message("GET", "/stream", site.bearer() | {"API-Key": KEY}))
            await opened(wire)
            assert (site.state.admitted, len(site.state.connections)) == (1, 0)
        await until(lambda: site.state.admitted == 0)


async def test_none_is_opened_on_the_way_down(site: Site) -> None:
    """By a connection that is still open because something else was being answered on it."""
    async with connected(site) as wire:
        body = site.bearer() | {"Content-Length": "2"}
        await wire.send(message("POST", f"/metrics/{ENVIRONMENT}", body) + b"{")
        await until(lambda: len(site.state.connections) == 1)
        stream = message("GET", "/stream", site.bearer() | {"API-Key": KEY, "Connection": "close"})
        await wire.send(b"}" + stream)
        site.state.closing = True
        assert (await wire.response()).status == 200
        assert b"HTTP/1.1 200" not in await wire.closed()
