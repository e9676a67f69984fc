"""The metrics on a port of their own: whoever reaches it, and whatever it sends."""

import asyncio
import gzip
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from ff_proxy.api.metrics_page import MetricsPage
from ff_proxy.app.metrics_port import LIMITS, MetricsPort
from ff_proxy.http.request import Request
from ff_proxy.http.response import Response
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.http import HOST, Wire, connected_to, until


def request(method: str, path: str, *fields: str) -> bytes:
    """A request without a body."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: h", *fields, "", "")).encode()


GET = request("GET", "/metrics")
TEXT = b"one_total 1.0\n"


class Page(MetricsPage):
    """Counts who asks, and who leaves before the answer."""

    asked = left = 0

    async def __call__(self, request: Request) -> Response:
        self.asked += 1
        try:
            return await super().__call__(request)
        except asyncio.CancelledError:
            self.left += 1
            raise


class Port:
    """A running service, its page and its clock."""

    def __init__(self, exposition: Callable[[], bytes]) -> None:
        self.clock = FakeClock()
        self.listening = socket.create_server((HOST, 0))
        self.number: int = self.listening.getsockname()[1]
        self.page = Page(exposition)
        self.service = MetricsPort(self.page, self.listening, self.clock, null_telemetry())
        self.start()

    def start(self) -> None:
        """Run, perhaps again."""
        self.running = asyncio.create_task(self.service.run())

    async def stop(self) -> None:
        """End the service; the socket stays."""
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running

    async def status(self) -> int:
        """What a scrape on a connection of its own is answered with."""
        async with connected_to(self.number) as wire:
            await wire.send(GET)
            return (await wire.response()).status


@asynccontextmanager
async def metrics_port(exposition: Callable[[], bytes] = lambda: TEXT) -> AsyncIterator[Port]:
    """A running service, every wait for which is bounded."""
    port = Port(exposition)
    try:
        async with asyncio.timeout(10):
            await port.service.ready.wait()
            yield port
    finally:
        await port.stop()
        port.listening.close()


async def test_scrapes_on_one_connection() -> None:
    """Again and again, packed or not, with a body or not."""
    async with metrics_port() as port, connected_to(port.number) as wire:
        for path in ("/metrics", "/", "/metrics?a=b"):
            await wire.send(request("GET", path))
            answer = await wire.response()
            assert (answer.status, answer.body) == (200, TEXT)
            assert answer.field("content-type") == "text/plain; version=0.0.4; charset=utf-8"
        await wire.send(request("GET", "/metrics", "Accept-Encoding: br, gzip"))
        answer = await wire.response()
        assert answer.field("content-encoding") == "gzip"
        assert gzip.decompress(answer.body) == TEXT
        await wire.send(request("HEAD", "/metrics"))
        answer = await wire.response(head=True)
        assert (answer.status, answer.field("content-length")) == (200, "14")
        await wire.send(request("GET", "/other"))
        assert (await wire.response()).status == 404
        await wire.send(GET)
        assert (await wire.response()).body == TEXT


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("POST", "/metrics", "Content-Length: 0"), 405),
        (request("POST", "/metrics", "Content-Length: 100000"), 405),
        (b"nonsense\r\n\r\n", 400),
        (request("GET", "/metrics", "X: " + "x" * 20_000), 431),
        (b"\x16\x03\x01\x02\x00\x01", 400),
    ],
)
async def test_what_is_no_scrape_is_refused(sent: bytes, status: int) -> None:
    """With a status, and scrapes go on."""
    async with metrics_port() as port, connected_to(port.number) as wire:
        await wire.send(sent)
        assert (await wire.response()).status == status
        assert await port.status() == 200


async def test_a_scraper_is_answered_however_many_connections_are_open() -> None:
    """Beyond the limit, one that asks for nothing makes room."""
    async with metrics_port() as port:
        wires = [await _open(port) for _ in range(3 * LIMITS.connections)]
        assert [await port.status() for _ in range(3)] == [200] * 3
        for wire in wires:
            wire.writer.close()


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [(b"", LIMITS.idle_seconds), (GET[:-2], LIMITS.head_seconds), (GET, LIMITS.idle_seconds)],
    ids=["none", "head", "idle"],
)
async def test_every_state_has_a_deadline(sent: bytes, seconds: float) -> None:
    """Of a connection that sends nothing, half a request, or nothing more."""
    async with metrics_port() as port, connected_to(port.number) as wire:
        await wire.send(sent)
        if sent == GET:
            await wire.response()
        assert await port.status() == 200  # what was sent before has been read by now
        ended = asyncio.create_task(wire.closed())
        await port.clock.advance(seconds - 2)
        assert not ended.done()
        await port.clock.advance(5)
        await ended


async def test_however_many_ask_the_text_is_made_once() -> None:
    """It takes a second where there are a thousand environments, and nobody can make that a hundred."""
    go, made = threading.Event(), []

    def exposition() -> bytes:
        made.append(1)
        go.wait(5)
        return TEXT

    async with metrics_port(exposition) as port, connected_to(port.number) as leaving:
        await leaving.send(GET)
        asking = [asyncio.create_task(port.status()) for _ in range(7)]
        await until(lambda: port.page.asked == 8 and bool(made))
        leaving.reset()  # one that leaves ends nothing for the others
        await until(lambda: port.page.left == 1)
        go.set()
        assert set(await asyncio.gather(*asking)) == {200}
        assert len(made) == 1


async def test_a_collector_that_fails_is_an_answer() -> None:
    """And not the end of the service."""
    errors: list[Exception] = [OSError("disk"), ValueError("torn file")]

    def exposition() -> bytes:
        if errors:
            raise errors.pop()
        return TEXT

    async with metrics_port(exposition) as port:
        assert [await port.status() for _ in range(3)] == [500, 500, 200]


async def test_it_can_be_run_again_on_its_socket() -> None:
    """As after a failure; what waits meanwhile is served then."""
    async with metrics_port() as port, connected_to(port.number) as wire:
        await wire.send(GET)
        await wire.response()
        await port.stop()
        assert not await wire.closed()
        waiting = asyncio.create_task(port.status())
        await asyncio.sleep(0)
        port.start()
        assert await waiting == 200


async def _open(port: Port) -> Wire:
    return Wire(*await asyncio.open_connection(HOST, port.number))
