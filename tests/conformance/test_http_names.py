"""What holds for every route: names of header fields, Vary, tokens, methods (spec/sdk-wire#trap-46)."""

from collections.abc import AsyncIterator

import pytest

from ff_proxy.api.ofrep_streams import EVENTS_PATH
from ff_proxy.http.headers import canonical
from ff_proxy.http.routes import Route
from tests.support.configs import ENVIRONMENT, KEY, config, flag, segment
from tests.support.web import Response, Site, ask, connected, message, serving

NAMES = {"{env}": ENVIRONMENT, "{id}": "a", "{target...}": "jane", "{flag}": "a"}
METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS", "QUERY"]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One environment, also below a path of the operator's."""
    async with serving(Site(base_path="/relay/flags"), config(flag("a"), segment("a"))) as running:
        yield running


def path_of(route: Route) -> str:
    """A path that the route answers."""
    path = route.template
    for name, value in NAMES.items():
        path = path.replace(name, value)
    return path


async def answers(site: Site, path: str, headers: dict[str, str]) -> AsyncIterator[Response]:
    """Of every method, each on a connection of its own, since some become streams."""
    for method in METHODS:
        async with connected(site) as wire:
            await wire.send(message(method, path, headers, b"{}" if method == "POST" else b""))
            yield await wire.response(head=method == "HEAD")


async def test_names_are_written_as_go_writes_them(site: Site) -> None:
    """Whatever is asked, let in or not: Erlang and Elixir compare the bytes."""
    for path in [*map(path_of, site.routes), "/nowhere", f"/client/env/{ENVIRONMENT}/feature-configs/none"]:
        for headers in ({}, site.bearer() | {"API-Key": KEY, "X-Request-ID": "1", "Accept-Encoding": "gzip"}):
            async for got in answers(site, path, headers):
                for name, _ in got.fields:
                    assert name == canonical(name.encode()).decode(), (path, got)


async def test_what_is_not_http_is_refused_in_such_names(site: Site) -> None:
    """400, 408, 431 and the like are written elsewhere."""
    for sent in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 500_000, b"GET / HTTP/2.0\r\n\r\n"):
        async with connected(site) as wire:
            wire.writer.write(sent)
            got = await wire.response()
            assert got.status in {400, 431}
            assert all(name == canonical(name.encode()).decode() for name, _ in got.fields)


async def test_vary_names_what_the_route_declares(site: Site) -> None:
    """Of every read, and nothing else."""
    for route in site.routes:
        if route.method != "GET" or route.streams:
            continue
        got = await ask(site, "GET", path_of(route), site.bearer())
        assert got.status == 200
        assert (got.field("vary") or "").encode() == route.vary


async def test_a_route_that_looks_at_tokens_wants_one(site: Site) -> None:
    """401 without, for every method that it has; a preflight never needs one."""
    for route in site.routes:
        headers = {"API-Key": KEY}
        got = await ask(site, route.method, path_of(route), headers, b"{}" if route.method == "POST" else b"")
        # A browser's EventSource sends no header of ours: its token is in the address.
        wants = b"authorization" in route.headers or route.template == EVENTS_PATH
        assert (got.status == 401) is wants, route.template
        assert (await ask(site, "OPTIONS", path_of(route))).status == 204


@pytest.mark.parametrize("prefix", ["/relay/flags", "//relay//flags", "/relay/flags/api/1.0", "/api/1.0", ""])
async def test_everything_is_served_below_the_prefixes(site: Site, prefix: str) -> None:
    """And at the root."""
    for route in site.routes:
        if route.streams or route.method != "GET":
            continue
        assert (await ask(site, "GET", prefix + path_of(route), site.bearer())).status == 200
    assert (await ask(site, "GET", "/other" + prefix + "/health")).status == 404
