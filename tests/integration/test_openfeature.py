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
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.seed.build import flag, serve
from tests.integration.harness import Proxy, online_options, sandbox
from tests.sdk.chromium import page
from tests.sdk.openfeature_client import WITHIN, Language, OpenFeatureClient, languages
from tests.sdk.prepare import OPENFEATURE, chromium, missing_tools, prepare

KEY: Final = "sandbox-dev-server-key"
ENVIRONMENT: Final = "development"
FLAG: Final = "dark_mode"
GOLD_PLAN: Final = {"targetingKey": "customer-1", "plan": "gold"}
FREE_PLAN: Final = {"targetingKey": "customer-2", "plan": "free"}

pytestmark = pytest.mark.timeout(180)


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
        discounts = {"spring": "2.5", "none": "0"}
        environment.put(
            Domain.FLAG,
            flag(environment.info, "discount", "int", discounts, off="none", default=serve("spring")),
        )
        yield running


@pytest.fixture
async def proxy(saas: RunningSandbox, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A proxy in front of it, whose tokens outlive a restart."""
    options = online_options(saas, [KEY]) | {"data-dir": str(tmp_path / "data")}
    async with Proxy.running(options, tmp_path / "proxy.log") as running:
        yield running


@pytest.fixture
async def client(
    request: pytest.FixtureRequest, proxy: Proxy, tmp_path: Path
) -> AsyncIterator[OpenFeatureClient]:
    """An application with the provider of the language that the test is run for."""
    async with OpenFeatureClient.running(request.param, proxy.url, KEY, tmp_path) as running:
        yield running


in_every_language = pytest.mark.parametrize("client", languages(), indirect=True)


@in_every_language
async def test_every_type(client: OpenFeatureClient) -> None:
    """With reasons and variants, for each context on its own."""
    gold = await client.details("boolean", FLAG, False, GOLD_PLAN)
    assert (gold["value"], gold["reason"], gold["variant"]) == (True, "TARGETING_MATCH", "true")
    free = await client.details("boolean", FLAG, True, FREE_PLAN)
    assert (free["value"], free["reason"]) == (False, "STATIC")
    assert (await client.details("integer", "search_results_per_page", 0, FREE_PLAN))["value"] == 25
    assert (await client.details("float", "discount", 0.1, FREE_PLAN))["value"] == 2.5
    text = await client.details("string", "shipping_banner", "", FREE_PLAN)
    assert text["value"].startswith("Free shipping")
    document = await client.details("object", "price_display", {}, FREE_PLAN)
    assert document["value"]["currency"] == "USD"
    assert (await client.details("string", "checkout_flow", "", FREE_PLAN))["reason"] == "SPLIT"


@in_every_language
async def test_what_cannot_be_evaluated_is_the_default(client: OpenFeatureClient) -> None:
    """With the protocol's error code."""
    missing = await client.details("boolean", "nothing", True, FREE_PLAN)
    assert (missing["value"], missing["errorCode"]) == (True, "FLAG_NOT_FOUND")
    nobody = await client.details("boolean", FLAG, True, {"plan": "gold"})
    code = "TARGETING_KEY_MISSING" if client.language.tells_codes else "INVALID_CONTEXT"
    assert (nobody["value"], nobody["errorCode"]) == (True, code)
    wrong = await client.details("string", FLAG, "red", FREE_PLAN)
    assert (wrong["value"], wrong["errorCode"]) == ("red", "TYPE_MISMATCH")


@in_every_language
async def test_a_flip_and_a_restart(client: OpenFeatureClient, saas: RunningSandbox, proxy: Proxy) -> None:
    """The default while nobody answers, and the newest state afterwards."""
    assert (await client.details("boolean", FLAG, False, GOLD_PLAN))["value"] is True
    saas.state.flip(ENVIRONMENT, FLAG, state="off")
    await client.until("boolean", FLAG, True, False, **GOLD_PLAN)
    await proxy.stop()
    away = await client.details("boolean", FLAG, True, GOLD_PLAN)
    assert (away["value"], away["errorCode"]) == (True, "GENERAL")
    saas.state.flip(ENVIRONMENT, FLAG, state="on")
    await proxy.start()
    await client.until("boolean", FLAG, False, True, **GOLD_PLAN)


@pytest.mark.parametrize("language", languages())
async def test_a_wrong_key_gets_defaults(language: Language, proxy: Proxy, tmp_path: Path) -> None:
    """And an error that says so."""
    async with OpenFeatureClient.running(language, proxy.url, "wrong", tmp_path) as client:
        details = await client.details("boolean", FLAG, True, GOLD_PLAN)
        assert (details["value"], details["errorCode"]) == (True, "GENERAL")


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


@pytest.mark.skipif(
    bool(missing_tools("openfeature")), reason=f"this machine lacks {missing_tools('openfeature')}"
)
async def test_a_browser_sees_flips_live(
    proxy: Proxy, saas: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Context changes, a flip by event stream, and one while the proxy was away."""
    await asyncio.to_thread(prepare, ["openfeature"])
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
