"""Clients that are refused again and again: 429 for a while, and nobody else notices it."""

import json
from collections.abc import Mapping
from ipaddress import ip_network

import pytest

from ff_proxy.http.failure_limit import FailureLimit
from ff_proxy.http.limits import Limits
from ff_proxy.http.parser import RequestParser
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import Response, Site, ask, connected, message, serving

FLAGS = f"/client/env/{ENVIRONMENT}/feature-configs"
ROUTES = [
    ("GET", FLAGS),
    ("GET", f"{FLAGS}/a"),
    ("GET", f"/client/env/{ENVIRONMENT}/target-segments"),
    ("GET", f"/client/env/{ENVIRONMENT}/target/ana/evaluations"),
    ("POST", f"/metrics/{ENVIRONMENT}"),
    ("GET", "/stream"),
]


def key(text: str) -> bytes:
    """What an SDK authenticates with."""
    return json.dumps({"apiKey": text}).encode()


def limited(burst: int, trusted: tuple[str, ...] = ()) -> Site:
    """So many refusals at once, and hardly any more later."""
    clock = FakeClock()
    failures = FailureLimit(clock, budget=100_000, burst=burst, per_second=0.2)
    return Site(clock=clock, failures=failures, trusted=[ip_network(text) for text in trusted])


async def asked(site: Site, method: str, path: str, fields: Mapping[str, str]) -> Response:
    """One request with what a stream needs besides."""
    return await ask(site, method, path, {"API-Key": KEY, **fields}, b"{}" if method == "POST" else b"")


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_bad_tokens(method: str, path: str) -> None:
    """Refused as usual at first, then told to wait; a good token from the same address is not."""
    async with serving(limited(3), config(flag("a"))) as site:
        bad = {"Authorization": "Bearer x.y.z"}
        statuses = [(await asked(site, method, path, bad)).status for _ in range(5)]
        assert set(statuses[:3]) <= {401, 403}
        assert statuses[3:] == [429, 429]
        refused = await asked(site, method, path, bad)
        assert refused.field("retry-after") == "5"
        assert refused.field("access-control-allow-origin") == "*"
        if path == "/stream":
            assert refused.body == b""
        else:
            assert json.loads(refused.body)["code"] == "429"
            assert (await asked(site, method, path, site.bearer())).status == 200
        assert (await ask(site, "POST", "/client/auth", {}, key(KEY))).status == 200
        assert (await ask(site, "GET", "/health")).status == 200


async def test_clients_behind_a_trusted_proxy_are_told_apart() -> None:
    """By what it says of them; whoever else says so is not believed."""
    async with serving(limited(2, ("127.0.0.0/8",)), config(flag("a"))) as site:

        async def statuses(client: str) -> list[int]:
            fields = {"Authorization": "Bearer x", "X-Forwarded-For": f"203.0.113.99, {client}"}
            return [(await ask(site, "GET", FLAGS, fields)).status for _ in range(3)]

        assert await statuses("198.51.100.1") == [403, 403, 429]
        assert await statuses("198.51.100.2") == [403, 403, 429]
        assert await statuses("2001:db8::1") == [403, 403, 429]
        assert await statuses("2001:db8::2") == [429, 429, 429]
    async with serving(limited(2), config(flag("a"))) as site:
        assert await statuses("198.51.100.1") == [403, 403, 429]
        assert await statuses("198.51.100.2") == [429, 429, 429]


async def test_unknown_keys() -> None:
    """They are checked so often, and good ones are issued tokens all the while."""
    async with serving(Site(clock=FakeClock(), limited=True), config(flag("a"))) as site:
        statuses = [
            (await ask(site, "POST", "/client/auth", {}, key(f"key-{number}"))).status
            for number in range(105)
        ]
        assert statuses == [403] * 100 + [429] * 5
        assert len(site.keys.asked) == 100
        for _ in range(20):
            assert (await ask(site, "POST", "/client/auth", {}, key(KEY))).status == 200


async def test_connections_of_one_client_leave_room_for_others() -> None:
    """Beyond its share a client is told to come back, but for its probes; a trusted proxy has no share."""
    limits = Limits(connections=20, per_peer=5, extra_connections=2)
    async with serving(Site(limits=limits), config(flag("a"))) as site:
        async with connected(site), connected(site), connected(site), connected(site), connected(site):
            async with connected(site) as wire:
                await wire.send(message("GET", "/health/live"))
                assert (await wire.response()).status == 200
            async with connected(site) as wire:
                await wire.send(message("GET", FLAGS, site.bearer()))
                crowded = await wire.response()
                assert (crowded.status, crowded.field("retry-after")) == (503, "2")
    async with serving(Site(limits=limits, trusted=[ip_network("127.0.0.1")]), config(flag("a"))) as site:
        async with connected(site), connected(site), connected(site), connected(site), connected(site):
            async with connected(site) as wire:
                await wire.send(message("GET", FLAGS, site.bearer()))
                assert (await wire.response()).status == 200


@pytest.mark.parametrize("line", ["\r\n", "0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"])
async def test_a_body_of_blank_lines_is_read_in_large_slices(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them may be its end, but looking at every one would cost two hundred times as much."""
    fed: list[int] = []
    feed = RequestParser.feed

    def noting(self: RequestParser, data: bytes) -> None:
        fed.append(len(data))
        feed(self, data)

    monkeypatch.setattr(RequestParser, "feed", noting)
    part = line.encode() * (8000 // len(line))
    chunks = b"%x\r\n%b\r\n" % (len(part), part) * 20 + b"0\r\n\r\n"
    head = b"POST /metrics/%b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" % ENVIRONMENT.encode()
    async with serving(Site()) as site, connected(site) as wire:
        await wire.send(head + chunks + message("GET", "/health"))
        assert [(await wire.response()).status for _ in range(2)] == [401, 200]
    assert sum(fed) > len(chunks)
    assert len(fed) < len(chunks) // 500
