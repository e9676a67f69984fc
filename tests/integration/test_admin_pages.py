"""The admin pages of a running proxy, in a real browser."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.member import FleetMember
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.store.fleet_presence import FleetPresence
from ff_proxy.telemetry import null_telemetry
from tests.integration.harness import Proxy, online_options, sandbox
from tests.sdk.prepare import BROWSER, missing_tools, prepare
from tests.support.chromium import Browser, Tab, browser
from tests.support.local_http import local_http
from tests.support.ports import free_port
from tests.support.redis_member import endpoint, member_at
from tests.support.redis_server import RedisServer, redis_server
from tests.support.sdk_like import SdkLike

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(bool(missing_tools("browser")), reason="this machine lacks Chromium or npm"),
]

AXE: Final = BROWSER / "node_modules/axe-core/axe.min.js"
ENVIRONMENT: Final = EnvironmentId("11111111-1111-4111-8111-111111111111")
ATTRIBUTES: Final = "%7B%22country%22%3A%22DE%22%2C%22plan%22%3A%22enterprise%22%7D"
PAGES: Final = {
    "overview": "/",
    "environment": f"/environments/{ENVIRONMENT}",
    "flag": f"/environments/{ENVIRONMENT}/flags/checkout_flow",
    "target": f"/environments/{ENVIRONMENT}/target?identifier=alice&attributes={ATTRIBUTES}",
    "sdks": "/sdks",
    "queues": "/queues",
    "logs": "/logs",
    "settings": "/settings",
    "not-found": "/nothing",
}
TOKEN: Final = "a-token-of-the-tests"


@dataclass(frozen=True)
class World:
    """A sandbox, a proxy in front of it, and a tab that may look at its admin address."""

    saas: RunningSandbox
    proxy: Proxy
    url: str
    tab: Tab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One Chromium for all tests, since starting it takes seconds of CPU; each tab has cookies of its own."""
    await asyncio.to_thread(prepare, ["browser"])
    async with browser(tmp_path_factory.mktemp("p")) as chromium:
        yield chromium


@contextlib.asynccontextmanager
async def world(opened: Browser, folder: Path, **options: str) -> AsyncIterator[World]:
    """Running until the context is left."""
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        saas = await stack.enter_async_context(sandbox(*default_environments()))
        keys = [_server_key(one) for one in saas.state.environments.values()]
        given = {
            **online_options(saas, keys),
            "admin-address": f"127.0.0.1:{port}",
            "shutdown-delay": "0",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        proxy = await stack.enter_async_context(Proxy.running(given, folder / "proxy.log"))
        tab = await stack.enter_async_context(opened.tab())
        await tab.show(1440)
        yield World(saas, proxy, f"http://127.0.0.1:{port}", tab)


@contextlib.asynccontextmanager
async def neighbours(server: RedisServer) -> AsyncIterator[None]:
    """Two more members of the fleet are listed: one is still of the version before, one is a replica."""
    own = FleetMember("", address="http://*:7000", started=time.time() - 90_000, version="0.0.9")
    others = {
        msgspec.structs.replace(own, id="b", host="proxy-b", mode="online", processes=3): Readiness(1),
        msgspec.structs.replace(own, id="c", host="proxy-c", mode="read replica"): Readiness(
            1, degraded=("a disk is full",)
        ),
    }
    async with contextlib.AsyncExitStack() as stack:
        for one, state in others.items():
            store = await stack.enter_async_context(member_at(endpoint(server), "ffp", one.id))
            how = partial(msgspec.structs.replace, state)
            presence = FleetPresence(store.members, one, how, SystemClock(), null_telemetry())
            task = asyncio.create_task(presence.run())
            stack.callback(task.cancel)
            await presence.ready.wait()
        yield


async def evaluations(here: World) -> None:
    """SDKs have reported some, and Harness has them."""
    counts = {
        ("checkout_flow", "classic"): 12_480,
        ("checkout_flow", "one_page"): 7_492,
        ("checkout_flow", "express"): 96,
        ("dark_mode", "false"): 1_930,
        ("dark_mode", "true"): 214,
        ("price_display", "net"): 58,
    }
    key = _server_key(here.saas.state.environments[ENVIRONMENT])
    async with SdkLike.connected(here.proxy.url, key) as client:
        for (flag, variation), count in counts.items():
            sdk = {"SDK_LANGUAGE": "python", "SDK_TYPE": "server", "SDK_VERSION": "1.7.4"}
            await client.post_usage(flag, count, variationIdentifier=variation, **sdk)
    await here.tab.open(here.url + PAGES["environment"])
    await here.tab.until(f"document.querySelectorAll('#usage tbody tr').length === {len(counts)}")
    shown = await here.tab.run("document.querySelector('#usage tbody tr').innerText")
    assert shown.split() == ["checkout_flow", "classic", "12,480", "12,480"]


def _server_key(environment: Environment) -> str:
    return next(key.text for key in environment.keys if key.type == "Server")


@pytest.mark.timeout(400)
async def test_every_page_is_accessible_fits_and_keeps_to_its_policy(opened: Browser, tmp_path: Path) -> None:
    """In light on a desk and in dark on a phone; whoever wants pictures names a directory for them."""
    async with contextlib.AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path / "redis"))
        await stack.enter_async_context(neighbours(redis))
        here = await stack.enter_async_context(
            world(opened, tmp_path, redis_address=f"127.0.0.1:{redis.port}", metric_post_duration="1")
        )
        tab, axe = here.tab, AXE.read_text(encoding="utf-8")
        await evaluations(here)
        await tab.open(here.url)
        await tab.until("document.querySelectorAll('#fleet tbody tr').length === 3")
        assert "0.0.9" in await tab.run("document.querySelector('#fleet .note').innerText")
        assert "this proxy" in await tab.run("document.querySelector('#environments tbody').innerText")
        here.saas.state.flip(ENVIRONMENT, "checkout_flow", serve="express")
        await tab.open(here.url + PAGES["flag"])
        await tab.until("document.querySelectorAll('.changes li').length > 0")
        for name, path in PAGES.items():
            for width, dark in ((1440, False), (390, True), (390, False), (1440, True)):
                await tab.show(width, dark=dark)
                await tab.open(here.url + path)
                await tab.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
                assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), (name, width)
                if (width == 1440) != dark:
                    await tab.run(axe)
                    found = await tab.run(
                        "axe.run(document, {resultTypes: ['violations']}).then((result) => JSON.stringify("
                        "result.violations.map((one) => [one.id, one.nodes.map((node) => node.html)])))"
                    )
                    assert json.loads(found) == [], (name, width)
                await tab.picture(f"{name}-{width}{'-dark' if dark else ''}.png")
        assert [text for text in tab.violations if "404" not in text] == []


async def test_a_change_is_on_the_open_page_before_anybody_reloads_it(
    opened: Browser, tmp_path: Path
) -> None:
    """And what the reader has opened stays open."""
    async with world(opened, tmp_path) as here:
        await here.tab.open(here.url + PAGES["target"])
        await here.tab.run("document.getElementById('flag-dark_mode').open = true; window.mine = true")
        got = "document.querySelector('#flag-checkout_flow .why').textContent"
        before = await here.tab.run(got)
        here.saas.state.flip(ENVIRONMENT, "checkout_flow", state="off")
        await here.tab.until(f"{got} === 'the flag is off'")
        assert before != "the flag is off"
        assert await here.tab.run("window.mine && document.getElementById('flag-dark_mode').open")
        await here.tab.until("document.getElementById('live-state').textContent === 'Live.'")


async def by_keyboard(tab: Tab, page: str) -> None:
    """Tab comes by whatever can be used, in the order of the page, and shows where it is."""
    usable = (
        "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, "
        "summary, [tabindex]')].filter((one) => one.tabIndex === 0 && one.checkVisibility())"
    )
    seen = []
    for _ in range(await tab.run(f"{usable}.length")):
        await tab.press("Tab")
        place, shown = await tab.run(
            f"(() => {{ const one = document.activeElement, style = getComputedStyle(one); return ["
            f"{usable}.indexOf(one), style.outlineStyle !== 'none' || style.boxShadow !== 'none'] }})()"
        )
        seen.append(place)
        assert shown, (page, place)
    assert seen == list(range(len(seen))), page


async def test_everything_is_there_without_javascript(opened: Browser, tmp_path: Path) -> None:
    """Pages, forms and what they lead to."""
    async with world(opened, tmp_path) as here:
        tab = here.tab
        await tab.scripts(run=False)
        for name, path in PAGES.items():
            await tab.open(here.url + path)
            assert len(await tab.run("document.querySelector('h1').innerText")) > 3, name
            await by_keyboard(tab, name)
        await tab.open(here.url + PAGES["environment"])
        await tab.run("document.getElementById('q').value = 'dark'")
        await tab.following("document.querySelector('.search button').click()")
        assert await tab.run("document.querySelectorAll('#flags tbody tr').length") == 1
        await tab.open(here.url + PAGES["settings"])
        await tab.run("document.getElementById('level').value = 'DEBUG'")
        await tab.following("document.querySelector('form[action$=log-level] button').click()")
        assert await tab.run("document.getElementById('level').value") == "DEBUG"
        await tab.following("document.querySelector('form[action$=reload] button').click()")
        assert (
            await tab.run("document.querySelector('[role=status]').innerText")
            == "The options have not changed."
        )


async def _typed(tab: Tab, text: str) -> None:
    """Type into the login field, which gets the focus by itself, perhaps only after the page has loaded."""
    await tab.until("document.activeElement.id === 'token'")
    await tab.send("Input.insertText", text=text)
    await tab.until(f"document.activeElement.value === {text!r}")


async def test_a_login_by_keyboard(opened: Browser, tmp_path: Path) -> None:
    """The field has the focus, a wrong token is said, and no script can read the cookie."""
    async with world(opened, tmp_path, admin_token=TOKEN) as here:
        tab = here.tab
        await tab.open(f"{here.url}/logs")
        assert (await tab.run("location.pathname + location.search")) == "/login?next=/logs"
        await _typed(tab, "wrong")
        await tab.press("Enter", follow=True)
        assert "not the token" in await tab.run("document.querySelector('[role=alert]').innerText")
        await _typed(tab, TOKEN)
        await tab.press("Enter", follow=True)
        assert await tab.run("location.pathname") == "/logs"
        assert await tab.run("document.cookie") == ""
        await tab.press("Tab")
        assert await tab.run("document.activeElement.className") == "skip"
        seen = []
        for _ in range(8):
            await tab.press("Tab")
            seen.append(await tab.run("document.activeElement.innerText || document.activeElement.id"))
        assert seen[1:7] == ["Overview", "SDKs", "Queues", "Logs", "Settings", "Log out"]
        assert TOKEN not in here.proxy.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_page_api_and_sdks_say_the_same(opened: Browser, tmp_path: Path, workers: str) -> None:
    """For each flag of a target; with several processes one page shows the figures of all."""
    async with world(opened, tmp_path, workers=workers) as here, local_http() as http:
        alice = {
            "identifier": "alice",
            "name": "alice",
            "attributes": {"country": "DE", "plan": "enterprise"},
        }
        key = _server_key(here.saas.state.environments[ENVIRONMENT])
        token = (
            await http.post(f"{here.proxy.url}/client/auth", json={"apiKey": key, "target": alice})
        ).json()["authToken"]
        base = f"{here.proxy.url}/client/env/{ENVIRONMENT}"
        headers = {"Authorization": f"Bearer {token}"}
        served = (await http.get(f"{base}/target/alice/evaluations", headers=headers)).json()
        for _ in range(10):
            await http.get(f"{base}/feature-configs", headers=headers)
        expected = {one["flag"]: one["identifier"] for one in served}
        url = f"{here.url}/api/explain?environment=development&target=alice&attributes={ATTRIBUTES}"
        told = (await http.get(url)).json()
        assert {one["flag"]: one["variation"] for one in told["answers"]} == expected
        await here.tab.open(here.url + PAGES["target"])
        shown: Any = await here.tab.run(
            "Object.fromEntries([...document.querySelectorAll('details.answer')].map((one) => "
            "[one.querySelector('.flag').innerText, one.querySelector('.got code').innerText]))"
        )
        assert shown == expected
        await here.tab.open(here.url)
        await here.tab.until("document.querySelector('#state h1').innerText === 'Everything works'")
        while (await http.get(f"{here.url}/api/status")).json()["requests"] < 12:
            await here.tab.until("true")
        status = (await http.get(f"{here.url}/api/status")).json()
        assert status["processes"] == (1 if workers == "1" else 3)
        assert sum(one["flags"] for one in status["environments"]) == sum(
            len(one.flags) for one in here.saas.state.environments.values()
        )
