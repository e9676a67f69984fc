"""OpenFeature's published OFREP providers as clients of the proxy (spec/behaviour#ofrep)."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest

from ff_proxy.model.environment import Domain
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.server import RunningSandbox
from tests.integration.harness import Proxy, online_options, sandbox
from tests.sdk.chromium import page
from tests.sdk.prepare import OPENFEATURE, chromium, executable, missing_tools, prepare

KEY: Final = "sandbox-dev-server-key"
ENVIRONMENT: Final = "development"
FLAG: Final = "dark_mode"
WITHIN: Final = 60.0

pytestmark = [
    pytest.mark.skipif(
        bool(missing_tools("openfeature")), reason=f"this machine lacks {missing_tools('openfeature')}"
    ),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module", autouse=True)
def _providers() -> None:
    """Installed once."""
    prepare(["openfeature"])


@pytest.fixture
async def saas() -> AsyncIterator[RunningSandbox]:
    """The sandbox with its own environments; ``dark_mode`` is on for those whose plan is gold."""
    async with sandbox(*default_environments()) as running:
        environment = running.state.find(ENVIRONMENT)
        rule = {
            "priority": 0,
            "clauses": [{"attribute": "plan", "op": "equal", "values": ["gold"]}],
            "serve": {"variation": "true"},
        }
        environment.put(Domain.FLAG, {**environment.flags[FLAG], "state": "on", "rules": [rule]})
        yield running


@pytest.fixture
async def proxy(saas: RunningSandbox, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A proxy in front of it, whose tokens outlive a restart."""
    options = online_options(saas, [KEY]) | {"data-dir": str(tmp_path / "data")}
    async with Proxy.running(options, tmp_path / "proxy.log") as running:
        yield running


class Node:
    """The provider for Node.js."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, proxy: Proxy, key: str) -> AsyncIterator["Node"]:
        process = await asyncio.create_subprocess_exec(
            executable("node") or "node",
            str(OPENFEATURE / "driver.mjs"),
            proxy.url,
            key,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await asyncio.wait_for(process.wait(), WITHIN)

    async def details(self, kind: str, flag: str, fallback: object, **context: object) -> dict[str, Any]:
        """An evaluation as an application sees it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"kind": kind, "flag": flag, "fallback": fallback, "context": context}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        answer = await asyncio.wait_for(self._process.stdout.readline(), WITHIN)
        details: dict[str, Any] = json.loads(answer)
        return details


async def test_node_gets_every_type(proxy: Proxy) -> None:
    """With reasons and variants, for each context on its own."""
    async with Node.running(proxy, KEY) as node:
        gold_plan = {"targetingKey": "customer-1", "plan": "gold"}
        free_plan = {"targetingKey": "customer-2", "plan": "free"}
        gold = await node.details("boolean", FLAG, False, **gold_plan)
        assert (gold["value"], gold["reason"], gold["variant"]) == (True, "TARGETING_MATCH", "true")
        free = await node.details("boolean", FLAG, True, **free_plan)
        assert (free["value"], free["reason"]) == (False, "STATIC")
        number = await node.details("number", "search_results_per_page", 0, **free_plan)
        assert number["value"] == 25
        text = await node.details("string", "shipping_banner", "", **free_plan)
        assert text["value"].startswith("Free shipping")
        document = await node.details("object", "price_display", {}, **free_plan)
        assert document["value"]["currency"] == "USD"
        assert (await node.details("string", "checkout_flow", "", **free_plan))["reason"] == "SPLIT"
        missing = await node.details("boolean", "nothing", True, **free_plan)
        assert (missing["value"], missing["errorCode"]) == (True, "FLAG_NOT_FOUND")


async def test_node_with_a_wrong_key_gets_defaults(proxy: Proxy) -> None:
    """And an error that says so."""
    async with Node.running(proxy, "wrong") as node:
        details = await node.details("boolean", FLAG, True, targetingKey="ann")
        assert details["value"] is True
        assert details["errorCode"]


class Page(ThreadingHTTPServer):
    """Serves the page and its modules; what the page tells arrives in ``told``."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser that is ended resets its connections."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), PageHandler)
        self._loop = asyncio.get_running_loop()
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def pass_on(self, event: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the test has ended
            self._loop.call_soon_threadsafe(self.told.put_nowait, event)

    async def until(self, event: str, value: object) -> None:
        """Wait until the page tells of ``event`` with ``value``."""
        heard: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(WITHIN):
                while not heard or not _is(heard[-1], event, value):
                    heard.append(await self.told.get())
        except TimeoutError:
            pytest.fail(f"no {event} with {value}, but {heard}")


def _is(heard: dict[str, Any], event: str, value: object) -> bool:
    return (heard["event"], heard["value"]) == (event, value) and "errorCode" not in heard


class PageHandler(BaseHTTPRequestHandler):
    """Files of the page, and events from it."""

    server: Page
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the name that http.server calls
        name = urlsplit(self.path).path.lstrip("/") or "page.html"
        file = OPENFEATURE / name
        found = file.is_file() and file.resolve().is_relative_to(OPENFEATURE)
        kind = "text/html; charset=utf-8" if name.endswith(".html") else "text/javascript"
        self._answer(200 if found else 404, kind, file.read_bytes() if found else b"")

    def do_POST(self) -> None:  # the name that http.server calls
        self.server.pass_on(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(200, "application/json", b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        """Say nothing."""

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)


@contextlib.contextmanager
def served() -> Iterator[Page]:
    """The page's server, in a thread."""
    with Page() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


async def test_a_browser_sees_flips_live(
    proxy: Proxy, saas: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Context changes, a flip by event stream, and one while the proxy was away."""
    with served() as server:
        query = urlencode({"proxy": proxy.url, "key": KEY, "flag": FLAG})
        url = f"http://127.0.0.1:{server.server_port}/?{query}"
        # A short path: the browser makes sockets below it.
        async with page(chromium() or "chromium", url, tmp_path_factory.mktemp("of")):
            await server.until("ready", False)
            await server.until("changed", True)
            saas.state.flip(ENVIRONMENT, FLAG, state="off")
            await server.until("changed", False)
            await proxy.stop()
            saas.state.flip(ENVIRONMENT, FLAG, state="on")
            await proxy.start()
            await server.until("changed", True)
