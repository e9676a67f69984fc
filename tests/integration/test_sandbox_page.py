"""The sandbox's page in a real browser: switches that work, for everybody."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import sandbox
from tests.sdk.prepare import BROWSER, missing_tools, prepare
from tests.support.chromium import Browser, Tab, browser
from tests.support.http import until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(bool(missing_tools("browser")), reason="this machine lacks Chromium or npm"),
]

SWITCH = '[role=switch][aria-label="dark_mode in development"]'
CHOICE = '[aria-label="Who gets what of dark_mode in development"]'
STATE = f"document.querySelector('{SWITCH}').getAttribute('aria-checked')"


def flag(saas: RunningSandbox) -> str:
    """The state of the flag that is switched, and who gets what."""
    development = saas.state.find("development")
    return f"{development.flags['dark_mode']['state']} {development.everyone_gets('dark_mode')}".strip()


async def switches(tab: Tab, saas: RunningSandbox, url: str) -> None:
    """Off and on again, as a person clicks."""
    await tab.open(url)
    for wanted in ("off", "on"):
        await tab.run(f"document.querySelector('{SWITCH}').click()")
        await tab.until(f"{STATE} === '{'true' if wanted == 'on' else 'false'}'")
        assert flag(saas) == wanted


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One Chromium for both tests."""
    await asyncio.to_thread(prepare, ["browser"])
    # A short path: the browser makes sockets below it.
    async with browser(tmp_path_factory.mktemp("p")) as chromium:
        yield chromium


async def test_its_switches(opened: Browser) -> None:
    """By a click, by the list beside it, and by somebody else's command while the page is open."""
    async with sandbox(*default_environments()) as saas, opened.tab() as tab:
        await switches(tab, saas, saas.url)
        await tab.run(
            f"const choice = document.querySelector('{CHOICE}'); choice.value = 'true';"
            "choice.dispatchEvent(new Event('change', {bubbles: true}))"
        )
        await tab.until(f"document.querySelector('{CHOICE}').selectedOptions[0].text === 'everyone: true'")
        await until(lambda: flag(saas) == "on true")  # the page shows a choice before it is carried out
        saas.state.set("development", "dark_mode", "off")
        await tab.until(f"{STATE} === 'false'")
        assert tab.violations == []


async def test_everybody_can_use_it(opened: Browser) -> None:
    """No violation of accessibility on a phone in dark and on a desk in light."""
    axe = (BROWSER / "node_modules/axe-core/axe.min.js").read_text("utf-8")
    async with sandbox(*default_environments()) as saas, opened.tab() as tab:
        for width, dark in ((1440, False), (390, True)):
            await tab.show(width, dark=dark)
            await tab.open(saas.url)
            assert await tab.run("document.documentElement.scrollWidth <= innerWidth"), width
            await tab.run(axe)
            found = await tab.run(
                "axe.run(document, {resultTypes: ['violations']}).then((result) => JSON.stringify("
                "result.violations.map((one) => [one.id, one.nodes.map((node) => node.html)])))"
            )
            assert json.loads(found) == [], width
            await tab.picture(f"sandbox-{width}.png")
