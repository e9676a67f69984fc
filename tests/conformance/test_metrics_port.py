"""The metrics on a port of their own: whoever reaches it, and whatever it sends."""

import asyncio
import gzip
import io
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.telemetry.metrics_server import MetricsServer
from tests.support.clock import FakeClock

HOST = "127.0.0.1"
GET = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"
TEXT = b"one_total 1.0\n"


class Port:
    """A running server, its clock and what it logged."""

    def __init__(self, exposition: Callable[[], bytes], connections: int) -> None:
        self.clock = FakeClock()
        self.out = io.StringIO()
        self.listening = socket.create_server((HOST, 0))
        once = Telemetry(make_logger("INFO", self.out), self.clock).once("metrics")
        self.server = MetricsServer(exposition, self.listening, self.clock, once, connections=connections)
        self.running = asyncio.create_task(self.server.run())
        self._scrapers: list[Scraper] = []

    async def connect(self) -> "Scraper":
        """A new connection, known to the server."""
        reader, writer = await asyncio.open_connection(HOST, self.listening.getsockname()[1])
        scraper = Scraper(reader, writer)
        self._scrapers.append(scraper)
        return scraper

    async def close(self) -> None:
        """End everything."""
        await self.stop()
        self.listening.close()
        for scraper in self._scrapers:
            scraper.writer.close()
            with suppress(OSError):
                await scraper.writer.wait_closed()

    async def stop(self) -> None:
        """End the service; the socket stays."""
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running


class Scraper:
    """One connection to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes = GET) -> tuple[int, dict[bytes, bytes], bytes]:
        """Send it and read the answer, which has a body unless it was asked for with HEAD."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")[:-2]
        fields = dict(line.lower().split(b": ") for line in lines)
        length = 0 if request.startswith(b"HEAD") else int(fields[b"content-length"])
        return int(first.split(b" ")[1]), fields, await self.reader.readexactly(length)

    async def closed(self) -> bool:
        """Wait for the end."""
        try:
            return not await self.reader.read(1)
        except ConnectionError:
            return True


@asynccontextmanager
async def metrics_port(
    exposition: Callable[[], bytes] = lambda: TEXT, connections: int = 3
) -> AsyncIterator[Port]:
    """A running server, every wait for which is bounded."""
    port = Port(exposition, connections)
    try:
        async with asyncio.timeout(10):
            await port.server.ready.wait()
            yield port
    finally:
        await port.close()


async def test_scrapes_on_one_connection() -> None:
    """Again and again, packed or not, with a body or not."""
    async with metrics_port() as port:
        scraper = await port.connect()
        for path in (b"/metrics", b"/", b"/metrics?a=b"):
            status, fields, body = await scraper.ask(GET.replace(b"/metrics", path))
            assert (status, body) == (200, TEXT)
            assert fields[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
        status, fields, body = await scraper.ask(
            GET.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: br, GZIP\r\n\r\n")
        )
        assert fields[b"content-encoding"] == b"gzip"
        assert gzip.decompress(body) == TEXT
        status, fields, body = await scraper.ask(GET.replace(b"GET", b"HEAD"))
        assert (status, fields[b"content-length"], body) == (200, b"14", b"")
        assert (await scraper.ask(GET.replace(b"/metrics", b"/other")))[0] == 404
        assert (await scraper.ask())[0] == 200
        assert (await scraper.ask(GET.replace(b"1.1", b"1.0")))[0] == 200
        assert await scraper.closed()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01", 400),
    ],
)
async def test_what_is_no_scrape_is_refused_and_hung_up_on(request_bytes: bytes, status: int) -> None:
    """With a status, as far as there is anybody to tell."""
    async with metrics_port() as port:
        scraper = await port.connect()
        found, fields, _ = await scraper.ask(request_bytes)
        assert (found, fields[b"connection"]) == (status, b"close")
        assert await scraper.closed()
        assert (await (await port.connect()).ask())[0] == 200


async def test_requests_that_do_not_wait_for_the_answer_end_the_connection() -> None:
    """No scraper sends such."""
    async with metrics_port() as port:
        scraper = await port.connect()
        scraper.writer.write(GET * 50)
        async with asyncio.timeout(5):
            assert (await scraper.reader.read()).count(b"HTTP/1.1 200") <= 1
        assert (await (await port.connect()).ask())[0] == 200


async def test_the_connection_that_was_idle_longest_makes_room() -> None:
    """A scraper that comes is served, however many others are open; it is logged once."""
    async with metrics_port() as port:
        scrapers = [await port.connect() for _ in range(3)]
        for scraper in (*scrapers, scrapers[0]):
            await scraper.ask()
        assert (await (await port.connect()).ask())[0] == 200
        assert await scrapers[1].closed()
        assert (await scrapers[0].ask())[0] == 200
        assert (await (await port.connect()).ask())[0] == 200
        assert port.out.getvalue().count("in use") == 1


async def test_when_all_are_busy_one_too_many_is_told_so() -> None:
    """A request that takes its time is not thrown out."""
    async with metrics_port() as port:
        slow = [await port.connect() for _ in range(3)]
        for scraper in slow:
            scraper.writer.write(GET[:-2])
        await _until(lambda: all(not one.idle for one in port.server._connections))
        late = await port.connect()
        assert (await late.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503")
        assert await late.closed()
        assert (await slow[0].ask(b"\r\n"))[0] == 200


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [(b"", 10), (b"GET", 10), (GET[:-2], 10), (GET, 130)],
    ids=["none", "part", "head", "idle"],
)
async def test_every_state_has_a_deadline(sent: bytes, seconds: int) -> None:
    """Of a connection that sends nothing, half a request, or nothing more."""
    async with metrics_port() as port:
        scraper = await port.connect()
        if sent == GET:
            await scraper.ask()
        elif sent:
            scraper.writer.write(sent)
        await _until(lambda: len(port.server._connections) == 1)
        await _until(lambda: all(one.idle is (sent in {b"", GET}) for one in port.server._connections))
        await port.clock.advance(seconds - 2)
        assert len(port.server._connections) == 1
        await port.clock.advance(5)
        assert await scraper.closed()


async def test_an_answer_that_is_not_taken_is_given_up() -> None:
    """Its bytes do not stay in memory."""
    async with metrics_port(lambda: b"x" * 50_000_000) as port:
        scraper = await port.connect()
        scraper.writer.write(GET)
        await _until(lambda: any(_unsent(one) for one in port.server._connections))
        await port.clock.advance(35)
        assert not port.server._connections
        scraper.writer.close()


async def test_however_many_ask_the_text_is_made_once() -> None:
    """It takes a second where there are a thousand environments, and nobody can make that a hundred."""
    go, made = threading.Event(), []

    def exposition() -> bytes:
        made.append(1)
        go.wait(5)
        return TEXT

    async with metrics_port(exposition, connections=8) as port:
        scrapers = [await port.connect() for _ in range(8)]
        asking = [asyncio.create_task(scraper.ask()) for scraper in scrapers]
        await _until(lambda: sum(one._answering is not None for one in port.server._connections) == 8)
        scrapers[0].writer.close()  # one that leaves ends nothing for the others
        go.set()
        answers = await asyncio.gather(*asking[1:])
        asking[0].cancel()
        assert {status for status, _, _ in answers} == {200}
        assert len(made) == 1


async def test_a_collector_that_fails_is_an_answer_and_a_line() -> None:
    """And not the end of the service."""
    errors: list[Exception] = [OSError("disk"), ValueError("torn file")]

    def exposition() -> bytes:
        if errors:
            raise errors.pop()
        return TEXT

    async with metrics_port(exposition) as port:
        assert [(await (await port.connect()).ask())[0] for _ in range(3)] == [500, 500, 200]
        assert port.out.getvalue().count("cannot be rendered") == 1


async def test_it_can_be_run_again_on_its_socket() -> None:
    """As after a failure; what waits meanwhile is served then."""
    async with metrics_port() as port:
        scraper = await port.connect()
        await scraper.ask()
        await port.stop()
        assert await scraper.closed()
        waiting = await port.connect()
        port.running = asyncio.create_task(port.server.run())
        assert (await waiting.ask())[0] == 200


def _unsent(connection: Any) -> int:
    return int(connection._transport.get_write_buffer_size())


async def _until(condition: Callable[[], bool]) -> None:
    """Let the server read what has been sent."""
    while not condition():  # noqa: ASYNC110  (the kernel tells nobody)
        await asyncio.sleep(0.001)
