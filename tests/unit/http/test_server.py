"""What the server promises whatever its routes are: every request ends, nobody starves another."""

import asyncio
import functools
import gzip
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from ff_proxy.errors import RequestError
from ff_proxy.http.connection import Connection
from ff_proxy.http.handler import Cacheable, Lease
from ff_proxy.http.limits import Limits
from ff_proxy.http.request import Request
from ff_proxy.http.response import Response, json_response
from ff_proxy.http.routes import Route
from ff_proxy.http.server import HttpServer
from tests.support.clock import FakeClock
from tests.support.http import Wire, connected_to, make_server, running_server, until

KIB = 1024
LIMIT = 64 * KIB


def small(request: Request) -> Response:
    """An answer that is made anew."""
    del request
    return json_response(200, b"{}")


async def length(request: Request) -> Response:
    """A body that is read piece by piece."""
    found = 0
    async for piece in request.body.pieces():
        assert len(piece) <= LIMIT
        found += len(piece)
    return json_response(200, b"%d" % found)


async def whole(request: Request) -> Response:
    """A body that is read as a whole."""
    return json_response(200, b"%d" % len(await request.body.read()))


def refusing(request: Request) -> Response:
    """A body that nobody looks at."""
    raise RequestError(401, str(request.params))


async def stuck(request: Request) -> Response:
    """Never answers."""
    await asyncio.Event().wait()
    return small(request)


ROUTES = [
    Route("GET", "/small", small),
    Route("GET", "/always", small, over_limit=True),
    Route("GET", "/stuck", stuck),
    Route("POST", "/length", length, body_limit=LIMIT),
    Route("POST", "/whole", whole, body_limit=LIMIT),
    Route("POST", "/refusing", refusing),
    Route("POST", "/of/{share}", whole, body_limit=LIMIT, share=lambda params: params["share"]),
]


def framed(path: str, body: bytes, *, chunked: bool, fields: str = "") -> bytes:
    """A post."""
    if not chunked:
        return f"POST {path} HTTP/1.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body
    head = f"POST {path} HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [body[start : start + 10_000] for start in range(0, len(body), 10_000)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", [1, LIMIT - 1, LIMIT, LIMIT + 1, 40 * LIMIT])
@pytest.mark.parametrize(
    ("path", "too_large"), [("/length", 413), ("/whole", 413), ("/refusing", 401), ("/nowhere", 404)]
)
async def test_a_body_of_any_size_is_answered_without_a_reset(
    path: str, too_large: int, size: int, chunked: bool
) -> None:
    """Sent at once; and the connection goes on."""
    async with running_server(make_server(ROUTES)) as server, connected_to(server.port) as wire:
        for _ in range(2):
            await wire.send(framed(path, b"x" * size, chunked=chunked))
            got = await wire.response()
            fits = path in {"/length", "/whole"} and size <= LIMIT
            assert got.status == (200 if fits else too_large)
            if fits:
                assert got.body == b"%d" % size
        await wire.send(b"GET /small HTTP/1.1\r\n\r\n")
        assert (await wire.response()).status == 200


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_compressed_body_is_read(chunked: bool) -> None:
    """Up to the limit of its route after decompression; bombs and broken bodies are refused."""
    good, bomb = gzip.compress(b"x" * LIMIT), gzip.compress(b"x" * 100 * LIMIT)
    async with running_server(make_server(ROUTES)) as server, connected_to(server.port) as wire:
        for path in ("/length", "/whole"):
            for coding, body, status in (
                ("gzip", good, 200),
                ("gzip", bomb, 413),
                ("gzip", good[:-9], 400),
                ("gzip", b"nonsense", 400),
                ("br", good, 415),
                ("identity", b"x", 200),
            ):
                fields = f"Content-Encoding: {coding}\r\n"
                await wire.send(framed(path, body, chunked=chunked, fields=fields))
                assert (await wire.response()).status == status, (path, coding)


PARTS = {
    "a head": (b"GET /small HTTP/1.1\r\nX: y", 408),
    "a body": (b"POST /length HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", 408),
    "a body that is unwanted": (b"POST /refusing HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", 401),
    "a chunk": (b"POST /whole HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx", 408),
    "a chunk's size": (b"POST /whole HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x", 408),
    "trailers": (b"POST /whole HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n", 408),
    "an answer": (b"GET /stuck HTTP/1.1\r\n\r\n", 503),
    "nothing": (b"", 0),
    "a next request": (b"GET /small HTTP/1.1\r\n\r\n", 200),
}


@pytest.mark.parametrize("name", PARTS)
async def test_every_state_has_a_timeout(name: str) -> None:
    """A client that does too little is disconnected, with an error if it had sent a request."""
    sent, status = PARTS[name]
    clock = FakeClock()
    async with running_server(make_server(ROUTES, clock=clock)) as server, connected_to(server.port) as wire:
        await wire.send(sent)
        await until(lambda: bool(server.state.connections))
        if sent:
            await until(lambda: _has_read(server))
        for _ in range(8):
            await clock.advance(100)
        received = await wire.closed()
        assert received.startswith(f"HTTP/1.1 {status} ".encode() if status else b"")
        assert received.count(b"HTTP/1.1 ") == (1 if status else 0)
        await until(lambda: not server.state.connections and not server.state.admitted)


def _has_read(server: HttpServer) -> bool:
    return all(isinstance(one, Connection) and one._active for one in server.state.connections)


async def test_pipelining_clients_do_not_delay_a_new_client() -> None:
    """Each connection gets one turn at a time, so a new client does not wait for all pipelined requests."""
    answered = 0

    def counted(request: Request) -> Response:
        nonlocal answered
        answered += 1
        return small(request)

    async with running_server(make_server([Route("GET", "/", counted)])) as server:
        crowd = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(40)]
        await until(lambda: len(server.state.connections) == 40)
        async with connected_to(server.port) as late:
            await until(lambda: len(server.state.connections) == 41)
            for _, writer in crowd:
                writer.write(b"GET / HTTP/1.1\r\n\r\n" * 300)
            await late.send(b"GET / HTTP/1.1\r\n\r\n")
            await late.response()
            assert answered < 40 * 300 / 4
        for _, writer in crowd:
            writer.close()


async def test_slow_bodies_do_not_use_up_the_budget_of_others() -> None:
    """The largest holder is evicted; another share, and another body of the same share, find room."""
    limits = Limits(connections=1000)
    server = make_server(ROUTES, limits=limits, bodies=3 * LIMIT)
    async with running_server(server):
        slow = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(8)]
        for _, writer in slow:
            writer.write(framed("/of/greedy", b"x" * LIMIT, chunked=False)[:-1])
        await until(lambda: server.state.bodies.held > LIMIT)
        async with connected_to(server.port) as wire:
            for share in ("/of/modest", "/of/greedy", "/whole"):
                await wire.send(framed(share, b"x" * LIMIT, chunked=False))
                assert (await wire.response()).status == 200
        assert server.state.bodies.held <= 3 * LIMIT
        for _, writer in slow:
            writer.close()
    assert server.state.bodies.held == 0


async def test_unread_responses_are_bounded() -> None:
    """The oldest one is evicted; other clients are still answered."""
    body = b"x" * 8_000_000

    def large(request: Request) -> Response:
        del request
        return Response(200, ((b"Content-Length", b"%d" % len(body)),), bytes(bytearray(body)))

    server = make_server([Route("GET", "/", large), *ROUTES], unsent=16_000_000)
    async with running_server(server):
        lazy = []
        for _ in range(12):
            narrow = socket.create_connection(("127.0.0.1", server.port))
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader, writer = await asyncio.open_connection(sock=narrow, limit=1)
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport, too
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            lazy.append((reader, writer))
            await asyncio.sleep(0)
        await until(lambda: len(server.state.connections) < 12)
        assert server.state.unsent.held <= 16_000_000
        async with connected_to(server.port) as wire:
            await wire.send(b"GET /small HTTP/1.1\r\n\r\n")
            assert (await wire.response()).status == 200
            await wire.send(b"GET / HTTP/1.1\r\n\r\n")
            assert len((await wire.response()).body) == len(body)
        for _, writer in lazy:
            writer.transport.abort()


async def test_with_too_many_connections_over_limit_routes_are_answered() -> None:
    """Probes must not mistake a busy proxy for a dead one."""
    async with running_server(
        make_server(ROUTES, limits=Limits(connections=1, extra_connections=1))
    ) as server:
        async with connected_to(server.port) as first:
            await first.send(b"GET /small HTTP/1.1\r\n\r\n")
            assert (await first.response()).status == 200
            for path, status in (("/always", 200), ("/small", 503), ("/nowhere", 503)):
                async with connected_to(server.port) as second:
                    await second.send(f"GET {path} HTTP/1.1\r\n\r\n".encode())
                    got = await second.response()
                    assert (got.status, got.field("connection")) == (status, "close")
                await until(lambda: server.state.admitted == 1)
            async with connected_to(server.port):
                await until(lambda: server.state.admitted == 2)
                async with connected_to(server.port) as third:
                    assert (await third.response()).status == 503


async def test_connections_of_one_address_are_bounded() -> None:
    """If configured; beyond the limit a few are accepted for `over_limit` routes."""
    limits = Limits(connections=100, per_peer=2, extra_connections=0)
    async with running_server(make_server(ROUTES, limits=limits)) as server:
        async with connected_to(server.port), connected_to(server.port):
            await until(lambda: server.state.admitted == 2)
            async with connected_to(server.port) as third:
                assert (await third.response()).status == 503
        await until(lambda: server.state.admitted == 0)


def _has(server: HttpServer, connections: int) -> bool:
    return server.state.admitted == connections


async def test_silent_connections_do_not_keep_probes_out() -> None:
    """Beyond any limit, a request for an `over_limit` route replaces an idle connection."""
    routes = [Route("GET", "/", lambda _: json_response(200, b"{}"), over_limit=True), *ROUTES]
    for limits in (
        Limits(connections=2, extra_connections=2),
        Limits(connections=99, per_peer=2, extra_connections=2),
    ):
        async with running_server(make_server(routes, limits=limits)) as server, AsyncExitStack() as stack:
            for number in range(4):
                await stack.enter_async_context(connected_to(server.port))
                await until(functools.partial(_has, server, number + 1))
            for _ in range(5):
                async with connected_to(server.port) as probe:
                    await probe.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert (await probe.response()).status == 200
            assert server.state.admitted <= 5


async def test_while_draining_each_response_closes_its_connection() -> None:
    """Cached ones too; new connections are still accepted."""
    lease = Lease()
    routes = [Route("GET", "/", lambda _: Cacheable(json_response(200, b"{}"), lease)), *ROUTES]
    ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with running_server(make_server(routes)) as server, connected_to(server.port) as wire:
        for _ in range(4):
            await wire.send(ask)
            assert (await wire.response()).field("connection") is None
        server.drain_connections()
        await wire.send(ask)
        assert (await wire.response()).field("connection") == "close"
        assert await wire.ended() == b""
        async with connected_to(server.port) as late:
            await late.send(framed("/whole", b"x" * 100, chunked=True))
            assert (await late.response()).field("connection") == "close"
            assert await late.ended() == b""


async def test_a_handler_cannot_read_undeclared_headers() -> None:
    """Every request fails, with the field or without, so that the mistake is noticed."""

    def peeking(request: Request) -> Response:
        return json_response(200, request.headers.get(b"user-agent") or b"{}")

    async with running_server(make_server([Route("GET", "/", peeking)])) as server:
        async with connected_to(server.port) as wire:
            for fields in (b"", b"User-Agent: x\r\n"):
                await wire.send(b"GET / HTTP/1.1\r\n%b\r\n" % fields)
                assert (await wire.response()).status == 500


@pytest.mark.parametrize(
    "change", [lambda lease: setattr(lease, "current", False), lambda lease: lease], ids=["ended", "kept"]
)
async def test_a_cached_response_is_valid_while_its_lease_is(change: Callable[[Lease], object]) -> None:
    """Found by its bytes or by its key; otherwise the handler is called again."""
    leases = [Lease()]
    made = 0

    def counting(request: Request) -> Cacheable:
        nonlocal made
        made += 1
        return Cacheable(json_response(200, request.headers.get(b"x") or b"none"), leases[-1])

    async with running_server(make_server([Route("GET", "/", counting, headers=(b"x",))])) as server:
        async with connected_to(server.port) as wire:

            async def ask(fields: bytes) -> bytes:
                await wire.send(b"GET / HTTP/1.1\r\n%b\r\n" % fields)
                return (await wire.response()).body

            for noise in range(3):
                for value in (b"1", b"2"):
                    assert await ask(b"X: %b\r\n" % value) == value
                    assert await ask(b"x:%b\r\nTrace: %d\r\n" % (value, noise)) == value
            assert made == 2
            old = leases[-1]
            leases.append(Lease())
            change(old)
            assert await ask(b"X: 1\r\n") == b"1"
            assert made == (2 if old.current else 3)


async def test_an_upgrade_with_a_body_is_ignored() -> None:
    """In any pieces, with a length or in chunks; what follows is the next request."""
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
    for chunked in (True, False):
        sent = framed("/whole", b"x" * 300, chunked=chunked, fields=offer) + b"GET /small HTTP/1.1\r\n\r\n"
        for size in (1, 7, 150, len(sent)):
            async with running_server(make_server(ROUTES)) as server, connected_to(server.port) as wire:
                await _send_in_pieces(wire, sent, size)
                assert (await wire.response()).body == b"300"
                assert (await wire.response()).body == b"{}"


async def _send_in_pieces(wire: Wire, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        wire.writer.write(data[start : start + size])
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "what", [b"1;" + b"x" * 500_000, b"0\r\nX: " + b"y" * 500_000, b"0\r\n" + b"X: y\r\n" * 300]
)
async def test_chunk_extensions_and_trailers_are_bounded(what: bytes) -> None:
    """They are dropped, and must not fill memory."""
    async with running_server(make_server(ROUTES)) as server, connected_to(server.port) as wire:
        wire.writer.write(b"POST /whole HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + what)
        got = await wire.response()
        assert (got.status, got.field("connection")) == (431, "close")
