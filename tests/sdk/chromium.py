"""The Harness JavaScript SDK in a headless Chromium, on a page of another origin than the proxy.

No WebDriver: the page fetches its commands from, and posts its events to, the server that served it.
"""

import asyncio
import contextlib
import json
import os
import queue
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.sdk.client import DriverError, SdkClient, SdkOptions, environment
from tests.sdk.prepare import BROWSER, SDK_BUNDLE

START_WITHIN = 60.0  # seconds, on a cold disk
POLL_SECONDS = 10.0  # how long a request for commands is held

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)

FILES = {
    "/": (BROWSER / "page.html", "text/html; charset=utf-8"),
    "/page.js": (BROWSER / "page.js", "text/javascript"),
    "/sdk.js": (SDK_BUNDLE, "text/javascript"),
}


class PageServer(ThreadingHTTPServer):
    """Serves the page; holds the commands for it and passes its events to `loop`."""

    daemon_threads = True

    def __init__(self, events: asyncio.Queue[Mapping[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), PageHandler)
        self.commands: queue.Queue[Mapping[str, Any]] = queue.Queue()
        self.stopping = threading.Event()
        self._events = events
        self._loop = asyncio.get_running_loop()

    def next_commands(self) -> list[Mapping[str, Any]]:
        """The commands that wait, or nothing after a while."""
        with contextlib.suppress(queue.Empty):
            commands = [self.commands.get(timeout=0.1 if self.stopping.is_set() else POLL_SECONDS)]
            while True:
                try:
                    commands.append(self.commands.get_nowait())
                except queue.Empty:
                    return commands
        return []

    def pass_on(self, event: Mapping[str, Any]) -> None:
        """Hand an event of the page to the loop of the tests, from the thread of its request."""
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)


class PageHandler(BaseHTTPRequestHandler):
    """The requests of the page."""

    server: PageServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the name that http.server calls
        """Serve a file of the page, or hold the request until there are commands."""
        if self.path == "/commands":
            self._answer("application/json", json.dumps(self.server.next_commands()).encode())
        elif self.path in FILES:
            file, media_type = FILES[self.path]
            self._answer(media_type, file.read_bytes())
        else:
            self._answer("text/plain", b"", status=404)

    def do_POST(self) -> None:  # the name that http.server calls
        """Take an event."""
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.pass_on(event)
        self._answer("application/json", b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        """Say nothing."""

    def _answer(self, media_type: str, body: bytes, *, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)


class BrowserClient(SdkClient):
    """A client of the JavaScript SDK: one of several in the same page."""

    def __init__(self, name: str, server: PageServer) -> None:
        super().__init__(name)
        self._server = server
        self._closed = False

    async def send(self, message: Mapping[str, Any]) -> None:
        """Lay the command out for the page."""
        self._server.commands.put({**message, "client": self.name})

    async def close(self) -> None:
        """Close the SDK's instances; the page stays."""
        await self.ask({"cmd": "close"})
        self._closed = True

    def ended(self) -> bool:
        """Whether it was closed."""
        return self._closed


class Browser:
    """One Chromium with one page, in which clients are opened."""

    def __init__(self, server: PageServer) -> None:
        self._server = server
        self._clients: dict[str, BrowserClient] = {}

    @contextlib.asynccontextmanager
    async def client(self, name: str, options: SdkOptions) -> AsyncIterator[BrowserClient]:
        """Open a client in the page; it is closed at the end."""
        client = self._clients[name] = BrowserClient(name, self._server)
        await client.ask({"cmd": "open", "options": options.wire()}, within=START_WITHIN)
        yield client
        if not client.ended():
            await client.close()

    async def receive(self, events: asyncio.Queue[Mapping[str, Any]]) -> None:
        """Pass what the page says to its clients, until cancelled."""
        while True:
            message = dict(await events.get())
            await self._clients[message.pop("client")].receive(message)


@contextlib.asynccontextmanager
async def browser(executable: str, scratch: Path) -> AsyncIterator[Browser]:
    """Start Chromium on the page; at the end its process group is ended and reaped."""
    await asyncio.to_thread(scratch.mkdir, parents=True)
    events: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    with serving(events) as server:
        opened = Browser(server)
        receiver = asyncio.create_task(opened.receive(events))
        url = f"http://127.0.0.1:{server.server_port}/"
        try:
            async with page(executable, url, scratch):
                yield opened
        finally:
            receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await receiver


@contextlib.asynccontextmanager
async def page(executable: str, url: str, scratch: Path) -> AsyncIterator[None]:
    """Start Chromium on ``url``; at the end its process group is ended and reaped."""
    with (scratch / "chromium.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            executable,
            *FLAGS,
            f"--user-data-dir={scratch / 'profile'}",
            url,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment(scratch),
        )
    try:
        yield
    finally:
        await _end_group(process)


@contextlib.contextmanager
def serving(events: asyncio.Queue[Mapping[str, Any]]) -> Iterator[PageServer]:
    """Run the page's server in a thread."""
    with PageServer(events) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """End Chromium with all its children: the group is ours, since it leads a session of its own."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            continue
        break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        raise DriverError("Chromium does not end")
