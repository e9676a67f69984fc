"""One connection, many requests: pipelining, framing, limits, deadlines, going down.

See spec/behaviour#shutdown.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import cast
from urllib.parse import quote

import pytest

from ff_proxy.http.connection import Connection
from ff_proxy.http.limits import Limits
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import HOST, Site, ask, connected, message, serving, until

FLAGS = f"/client/env/{ENVIRONMENT}/feature-configs"
USAGE = f"/metrics/{ENVIRONMENT}"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One environment."""
    async with serving(Site(), config(flag("a"))) as running:
        yield running


@pytest.fixture
async def timed() -> AsyncIterator[tuple[Site, FakeClock]]:
    """The same, whose seconds pass only when the test says so."""
    clock = FakeClock()
    async with serving(Site(clock=clock), config(flag("a"))) as running:
        yield running, clock


def requests(site: Site) -> list[bytes]:
    """Hot, cold, hot, refused, with and without bodies."""
    bearer = site.bearer()
    return [
        message("GET", FLAGS, bearer),
        message("POST", USAGE, bearer, b"{}" * 100),
        message("GET", f"{FLAGS}/a", bearer),
        message("HEAD", FLAGS, bearer),
        message("OPTIONS", FLAGS),
        message("GET", FLAGS),
        message("POST", "/client/auth", {}, b"nonsense"),
        message("GET", "/stream", bearer),
        message("GET", "/health"),
        message("GET", f"/client/env/{ENVIRONMENT}/target/t/evaluations", bearer),
    ]


STATUSES = [200, 200, 200, 200, 204, 401, 400, 400, 200, 200]


@pytest.mark.parametrize("together", [True, False])
async def test_requests_are_answered_in_order(site: Site, together: bool) -> None:
    """Sent one by one or all at once."""
    sent = requests(site)
    async with connected(site) as wire:
        if together:
            await wire.send(b"".join(sent))
        for request, status in zip(sent, STATUSES, strict=True):
            if not together:
                await wire.send(request)
            assert (await wire.response(head=request.startswith(b"HEAD"))).status == status


async def test_requests_may_come_in_any_pieces(site: Site) -> None:
    """Byte by byte, and in pieces of every small size."""
    sent = b"".join(requests(site))
    for size in (1, 2, 3, 7, 61, 500):
        async with connected(site) as wire:
            for start in range(0, len(sent), size):
                wire.writer.write(sent[start : start + size])
                if start % 50 == 0:
                    await wire.writer.drain()
                    await asyncio.sleep(0)
            for status, request in zip(STATUSES, requests(site), strict=True):
                assert (await wire.response(head=request.startswith(b"HEAD"))).status == status


@pytest.mark.parametrize("size", [1, 2, 3, 7, 61, 500, 5000])
async def test_a_target_may_hold_names_as_they_are_written(site: Site, size: int) -> None:
    """As curl sends them; they mean what their percent-encoded form means, in whatever pieces they come."""
    named = "josé-日本-😀"
    await ask(
        site,
        "POST",
        "/client/auth",
        body=json.dumps({"apiKey": KEY, "target": {"identifier": named}}).encode(),
    )
    answers = []
    for path in (named.encode(), quote(named).encode(), b"bad\xff\xfe", b"bad%FF%FE"):
        head = message("GET", f"/client/env/{ENVIRONMENT}/target/X/evaluations", site.bearer()).replace(
            b"X", path, 1
        )
        async with connected(site) as wire:
            statuses = []
            for sent in (message("POST", USAGE, site.bearer(), "é".encode()), head, b"\r\n" + head):
                for start in range(0, len(sent), size):
                    await wire.send(sent[start : start + size])
                    await asyncio.sleep(0)
                got = await wire.response()
                statuses.append((got.status, got.field("etag")))
        assert [status for status, _ in statuses] == [200, 200, 200]
        answers.append(statuses[-1][1])
    assert answers[0] == answers[1] != answers[2] == answers[3]


async def test_line_ends_between_requests_are_nothing(site: Site) -> None:
    """Some clients end a body with one (RFC 9112 §2.2)."""
    async with connected(site) as wire:
        for _ in range(3):
            await wire.send(b"\r\n\r\n" + message("POST", USAGE, site.bearer(), b"{}") + b"\r\n")
            assert (await wire.response()).status == 200
            await wire.send(message("GET", FLAGS, site.bearer()))
            assert (await wire.response()).status == 200


@pytest.mark.parametrize("header", ["close", "Close", "keep-alive, close", "close, TE"])
@pytest.mark.parametrize("path", [FLAGS, "/health", "/stream"])
async def test_a_client_may_ask_for_the_end(site: Site, header: str, path: str) -> None:
    """It is told that it got it."""
    async with connected(site) as wire:
        await wire.send(message("GET", path, site.bearer() | {"Connection": header}))
        assert (await wire.response()).field("connection") == "close"
        assert await wire.closed() == b""


@pytest.mark.parametrize("path", [FLAGS, "/health"])
async def test_http_1_0_ends_with_its_response(site: Site, path: str) -> None:
    """With a length and without chunks."""
    async with connected(site) as wire:
        await wire.send(message("GET", path, site.bearer()).replace(b"HTTP/1.1", b"HTTP/1.0"))
        got = await wire.response()
        assert (got.status, got.field("connection")) == (200, "close")
        assert await wire.closed() == b""


async def test_an_upgrade_is_ignored(site: Site) -> None:
    """Java's own client asks for HTTP/2 with its first request; the connection goes on as it is."""
    upgrade = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAEAAEAAAAIAAAAA",
    }
    async with connected(site) as wire:
        for method, path, body in (("GET", FLAGS, b""), ("POST", USAGE, b"{}"), ("GET", "/health", b"")):
            await wire.send(message(method, path, site.bearer() | upgrade, body))
            assert (await wire.response()).status == 200
            await wire.send(message("GET", FLAGS, site.bearer()))
            assert (await wire.response()).status == 200


async def test_half_a_connection_gets_its_answer(site: Site) -> None:
    """A client that closes its side after asking, as shell tools do."""
    for request in (message("GET", FLAGS, site.bearer()), message("POST", USAGE, site.bearer(), b"{}")):
        async with connected(site) as wire:
            await wire.send(request)
            wire.writer.write_eof()
            assert (await wire.response()).status == 200
            assert await wire.closed() == b""


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks of ``size`` bytes."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


@pytest.mark.parametrize("length", [0, 1_000, 70_000, 1_000_000])
@pytest.mark.parametrize("chunk", [0, 64, 50_000])
async def test_half_a_connection_gets_the_answer_to_any_body(site: Site, length: int, chunk: int) -> None:
    """A long body arrives faster than it is parsed, so that the client's end is there before it is used."""
    body = b'{"metricsData":[]' + b"\r\n" * (length // 2) + b"}"
    framing = {"Transfer-Encoding": "chunked"} if chunk else {"Content-Length": str(len(body))}
    head = message("POST", USAGE, site.bearer() | framing)
    async with connected(site) as wire:
        await wire.send(head + (chunked(body, chunk) if chunk else body) + message("GET", "/health"))
        wire.writer.write_eof()
        assert [(await wire.response()).status for _ in range(2)] == [200, 200]
        assert await wire.closed() == b""


async def test_half_a_body_of_half_a_connection_is_not_waited_for(site: Site) -> None:
    """Nothing more can come."""
    head = message("POST", USAGE, site.bearer() | {"Content-Length": "1000000"})
    async with connected(site) as wire:
        await wire.send(head + b" " * 900_000)
        wire.writer.write_eof()
        assert await wire.closed() == b""


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length:\r\n 5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"X: y\rTransfer-Encoding: chunked\r\n",
        b"X: y\nTransfer-Encoding: chunked\r\n",
        b"X: \x00\r\n",
        b"X\x00: y\r\n",
        b": y\r\n",
        b"no colon\r\n",
        b"X: y\r\n folded\r\n",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_head_that_can_be_read_in_two_ways_ends_the_connection(
    site: Site, fields: bytes, method: bytes
) -> None:
    """What follows it is never taken for a request of its own."""
    target = FLAGS if method == b"GET" else USAGE
    bearer = site.bearer()["Authorization"].encode()
    head = b"%b %b HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n%b\r\n" % (
        method,
        target.encode(),
        bearer,
        fields,
    )
    async with connected(site) as wire:
        await wire.send(head + b"0\r\n\r\n" + SMUGGLED)
        wire.writer.write_eof()
        received = await wire.closed()
    assert received.count(b"HTTP/1.1 ") <= 1
    assert b"HTTP/1.1 404" not in received


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"G\xc3\x89T / HTTP/1.1\r\n\r\n",
        b"CONNECT proxy:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"{}\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_told_so(site: Site, junk: bytes) -> None:
    """With a 400 in the errors' form; and that is the end of the connection."""
    async with connected(site) as wire:
        await wire.send(junk)
        got = await wire.response()
        assert (got.status, got.json()["code"], got.field("connection")) == (400, "400", "close")
        assert got.field("access-control-allow-origin") == "*"
        assert await wire.closed() == b""


async def test_large_headers_pass(site: Site) -> None:
    """JavaScript sends up to 256 KiB in one (spec/sdk-wire#target-transport)."""
    for path in (FLAGS, "/health"):
        got = await ask(site, "GET", path, site.bearer() | {"Harness-Target": "A" * 262_143})
        assert got.status == 200


@pytest.mark.parametrize(
    "headers", [{"X": "y" * 400_000}, {f"X-{number}": "y" for number in range(200)}, {"X": "y" * 5_000_000}]
)
async def test_larger_ones_do_not(site: Site, headers: dict[str, str]) -> None:
    """431, and the end."""
    for path in (FLAGS, "/health"):
        async with connected(site) as wire:
            wire.writer.write(message("GET", path, headers))
            got = await wire.response()
            assert (got.status, got.field("connection")) == (431, "close")
            assert got.json()["code"] == "431"


async def test_a_head_that_does_not_end_is_given_up(timed: tuple[Site, FakeClock]) -> None:
    """However many bytes trickle in."""
    site, clock = timed
    async with connected(site) as wire:
        await wire.send(b"GET / HTTP/1.1\r\n")
        for _ in range(20):
            await wire.send(b"X: y\r\n")
            await settle(site, clock, 1)
        assert (await wire.response()).status == 408
        assert await wire.closed() == b""


async def test_a_body_that_does_not_end_is_given_up(timed: tuple[Site, FakeClock]) -> None:
    """Thirty seconds, and what a slow line takes besides."""
    site, clock = timed
    async with connected(site) as slow, connected(site) as stuck:
        for wire in (slow, stuck):
            await wire.send(message("POST", USAGE, site.bearer() | {"Content-Length": "500000"}))
        for _ in range(50):
            await slow.send(b" " * 10_000)
            await settle(site, clock, 1)
        assert (await slow.response()).status == 200
        assert (await stuck.response()).status == 408
        assert await stuck.closed() == b""


async def test_an_idle_connection_is_kept_for_ten_minutes(timed: tuple[Site, FakeClock]) -> None:
    """Longer than cloud balancers keep theirs; connections that never said anything go as well."""
    site, clock = timed
    async with connected(site) as polling, connected(site) as idle:
        for _ in range(3):
            await polling.send(message("GET", FLAGS, site.bearer()))
            assert (await polling.response()).status == 200
            await settle(site, clock, 311)
        assert await idle.closed() == b""
        await polling.send(message("GET", FLAGS, site.bearer()))
        assert (await polling.response()).status == 200


async def test_the_date_moves(timed: tuple[Site, FakeClock]) -> None:
    """On both ways, also for answers that were made before."""
    site, clock = timed
    async with connected(site) as wire:
        dates = []
        for _ in range(2):
            for path in (FLAGS, FLAGS, "/health"):
                await wire.send(message("GET", path, site.bearer()))
                dates.append((await wire.response()).field("date"))
            await settle(site, clock, 1)
    assert dates == ["Tue, 14 Nov 2023 22:13:20 GMT"] * 3 + ["Tue, 14 Nov 2023 22:13:21 GMT"] * 3


async def test_connections_are_bounded() -> None:
    """One too many is told so, and counted; a stream takes a place too."""
    async with serving(Site(limits=Limits(connections=2)), config(flag("a"))) as site:
        async with connected(site) as stream, connected(site) as other:
            await stream.send(message("GET", "/stream", site.bearer() | {"API-Key": KEY}))
            assert (await stream.response()).status == 200
            await other.send(message("GET", FLAGS, site.bearer()))
            assert (await other.response()).status == 200
            async with connected(site) as third:
                got = await third.response()
                assert (got.status, got.body, got.field("connection")) == (503, b"", "close")
                assert await third.closed() == b""
        assert 'refused_total{reason="limit"} 1.0' in site.telemetry.exposition().decode()


async def test_a_client_that_does_not_read_is_not_read_from() -> None:
    """What waits to be sent stays bounded however much is asked for, and is sent once it is read."""
    flags = [flag(f"flag-{number}", description="x" * 1000) for number in range(200)]
    async with serving(Site(), config(*flags)) as site:
        request = message("GET", FLAGS, site.bearer())
        async with connected(site) as wire:
            wire.stop_reading()
            for _ in range(100):
                wire.writer.write(request * 20)
                await asyncio.sleep(0)
            await asyncio.sleep(0.2)
            (connection,) = cast("set[Connection]", site.state.connections)
            assert connection._transport.get_write_buffer_size() < 2_000_000
            wire.go_on_reading()
            for _ in range(2000):
                assert (await wire.response()).status == 200


async def test_a_client_that_never_reads_is_let_go(timed: tuple[Site, FakeClock]) -> None:
    """After a minute without progress."""
    site, clock = timed
    await site.hold(config(*(flag(f"flag-{number}", description="x" * 1000) for number in range(200))))
    async with connected(site) as wire:
        wire.stop_reading()
        wire.writer.write(message("GET", FLAGS, site.bearer()) * 200)
        await until(lambda: any(cast("Connection", one)._outgoing.busy for one in site.state.connections))
        await settle(site, clock, 130)
        await until(lambda: not site.state.connections)


async def test_going_down_lets_requests_finish(site: Site) -> None:
    """Idle connections end at once, the others with their response, new ones are not taken."""
    async with connected(site) as idle, connected(site) as busy, connected(site) as reading:
        await reading.send(message("GET", FLAGS, site.bearer()))
        assert (await reading.response()).status == 200
        await busy.send(message("POST", USAGE, site.bearer() | {"Content-Length": "2"}) + b"{")
        await until(lambda: len(site.state.connections) == 3)
        site.server.drain_connections()
        assert (await ask(site, "GET", "/health/ready")).json()["status"] == "draining"
        site.server.stop_accepting()
        assert await idle.closed() == b""
        assert await reading.closed() == b""
        draining = asyncio.create_task(site.server.finish(5))
        await busy.send(b"}")
        got = await busy.response()
        assert (got.status, got.field("connection")) == (200, "close")
        assert await busy.closed() == b""
        await draining
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, site.port)


async def test_going_down_waits_only_so_long(site: Site) -> None:
    """Then what is left is cut."""
    async with connected(site) as stuck:
        await stuck.send(message("POST", USAGE, site.bearer() | {"Content-Length": "2"}) + b"{")
        await until(lambda: len(site.state.connections) == 1)
        site.server.stop_accepting()
        await site.server.finish(0.05)
        assert await stuck.closed() == b""


async def settle(site: Site, clock: FakeClock, seconds: int) -> None:
    """Let seconds pass, after everything sent so far has arrived."""
    await asyncio.sleep(0.02)
    second = site.state.second
    await clock.advance(seconds)
    await until(lambda: site.state.second >= second + seconds)
