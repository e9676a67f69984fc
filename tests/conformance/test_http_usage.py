"""``POST /metrics/{env}`` over the wire (spec/behaviour#endpoints; spec/sdk-wire#usage-body)."""

from collections.abc import AsyncIterator

import pytest

from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.web import Response, Site, ask, connected, message, serving

PATH = f"/metrics/{ENVIRONMENT}"
LIMIT = 100_000


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Takes bodies of 100 kB at most."""
    async with serving(Site(max_body=LIMIT), config(flag("a"))) as running:
        yield running


def taken(got: Response) -> bool:
    """Exactly 200 with a small JSON object: anything else is a failure to some SDK."""
    return (got.status, got.body, got.field("content-type")) == (200, b"{}", "application/json")


@pytest.mark.parametrize("path", [PATH, f"/api/1.0{PATH}", f"/{PATH}", f"{PATH}?cluster=undefined"])
async def test_a_body_is_taken_as_it_is(site: Site, path: str) -> None:
    """Whatever its media type says; reading it is the usage room's."""
    got = await ask(site, "POST", path, site.bearer(), b'{"metricsData":null}')
    assert taken(got)
    assert got.field("access-control-allow-origin") == "*"
    assert site.posts.bodies == [(ENVIRONMENT, b'{"metricsData":null}')]


async def test_a_chunked_body_is_taken(site: Site) -> None:
    """However its chunks are cut, and whatever trails it; the connection goes on."""
    async with connected(site) as wire:
        head = message("POST", PATH, site.bearer() | {"Transfer-Encoding": "chunked"})
        await wire.send(head + b"3\r\n{}\n\r\n")
        await wire.send(b"1;x=y\r\n \r\n0\r\nTrailer: x\r\n\r\n")
        got = await wire.response()
        assert taken(got)
        await wire.send(message("POST", PATH, site.bearer(), b"{}"))
        assert taken(await wire.response())
    assert site.posts.bodies == [(ENVIRONMENT, b"{}\n "), (ENVIRONMENT, b"{}")]


async def test_an_unreadable_body_is_400(site: Site) -> None:
    """The only refusal of a body."""
    site.posts.unreadable = True
    got = await ask(site, "POST", PATH, site.bearer(), b"nonsense")
    assert (got.status, got.json()["code"]) == (400, "400")


async def test_a_body_that_is_too_large_is_read_off(site: Site) -> None:
    """Node repeats a 413 for ever: it is dropped, counted, and the connection goes on."""
    async with connected(site) as wire:
        await wire.send(message("POST", PATH, site.bearer(), b"x" * (LIMIT + 1)))
        assert taken(await wire.response())
        await wire.send(message("POST", PATH, site.bearer(), b"{}"))
        assert taken(await wire.response())
    assert [len(body) for _, body in site.posts.bodies] == [2]
    line = f'ff_proxy_usage_dropped_total{{envID="{ENVIRONMENT}",reason="too_large"}} 1.0'
    assert line in site.telemetry.exposition().decode()


async def test_a_chunked_body_that_is_too_large_is_read_off(site: Site) -> None:
    """Its length is not known before."""
    async with connected(site) as wire:
        await wire.send(message("POST", PATH, site.bearer() | {"Transfer-Encoding": "chunked"}))
        for _ in range(5):
            await wire.send(b"7530\r\n" + b"x" * 30_000 + b"\r\n")
        await wire.send(b"0\r\n\r\n")
        assert taken(await wire.response())
    assert site.posts.bodies == []


async def test_without_a_token_a_body_is_not_waited_for(site: Site) -> None:
    """Refused by its head; the connection stays usable once the body is through."""
    async with connected(site) as wire:
        await wire.send(message("POST", PATH, {"Content-Length": "200000"}))
        assert (await wire.response()).status == 401
        await wire.send(b"x" * 200_000 + message("POST", PATH, site.bearer(), b"{}"))
        assert taken(await wire.response())


async def test_a_client_that_waits_to_be_asked_is_asked(site: Site) -> None:
    """``Expect: 100-continue``."""
    async with connected(site) as wire:
        await wire.send(
            message("POST", PATH, site.bearer() | {"Expect": "100-continue", "Content-Length": "2"})
        )
        assert (await wire.response()).status == 100
        await wire.send(b"{}")
        assert taken(await wire.response())


async def test_a_client_that_was_never_asked_starts_anew(site: Site) -> None:
    """After a refusal nobody knows whether the body or the next request comes: the connection ends."""
    async with connected(site) as wire:
        await wire.send(message("POST", PATH, {"Expect": "100-continue", "Content-Length": "2"}))
        assert (await wire.response()).status == 401
        assert await wire.closed() == b""
