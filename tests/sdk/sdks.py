"""The Harness SDKs that run in the tests, and how a client of each is started."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.sdk.chromium import Browser, browser
from tests.sdk.client import DriverError, ProcessClient, SdkClient, SdkOptions
from tests.sdk.prepare import GO_DRIVER, JAVA, NODE, ROOT, chromium, executable, java_classpath


@dataclass(frozen=True, slots=True)
class Sdk:
    """What the tests have to know about an SDK."""

    name: str
    language: str
    """The value of SDK_LANGUAGE in the usage that it posts."""
    fastest_poll: int
    """The shortest poll interval, in seconds, that its public options allow."""
    polls_needed: int = field(default=1, kw_only=True)
    """How many polls it may take to see a change: the Node.js SDK skips one that is a millisecond early."""
    usage_at_close: bool
    """Whether closing it posts what it counted; the others post after a minute only (Java: half a minute)."""
    counts_each: bool = True
    """Whether every evaluation counts: the JavaScript SDK merges those within half a second."""
    optional: bool = False
    """Whether CI may lack its toolchain."""


PYTHON = Sdk("python", "python", fastest_poll=60, usage_at_close=True)
NODEJS = Sdk("node", "javascript", fastest_poll=60, polls_needed=2, usage_at_close=True)
JAVASCRIPT = Sdk("browser", "JavaScript", fastest_poll=60, usage_at_close=False, counts_each=False)
GOLANG = Sdk("go", "go", fastest_poll=2, usage_at_close=False, optional=True)
JVM = Sdk("java", "java", fastest_poll=2, usage_at_close=False, optional=True)

ALL: Mapping[str, Sdk] = {sdk.name: sdk for sdk in (PYTHON, NODEJS, JAVASCRIPT, GOLANG, JVM)}


def driver_command(sdk: Sdk) -> Sequence[str]:
    """The program that drives this SDK, unless it lives in a browser."""
    if sdk is PYTHON:
        return [sys.executable, str(ROOT / "python/python_driver.py")]
    if sdk is NODEJS:
        return [executable("node") or "node", str(NODE / "driver.mjs")]
    if sdk is GOLANG:
        return [str(GO_DRIVER)]
    if sdk is JVM:
        return java_command(JAVA)
    raise DriverError(f"{sdk.name} has no driver program")


def java_command(folder: Path) -> list[str]:
    """The driver in ``folder``, in a small machine of its own."""
    classpath = os.pathsep.join(java_classpath(folder))
    return [executable("java") or "java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", classpath, "Driver"]


class Launcher:
    """Starts clients; those of the JavaScript SDK share one browser."""

    def __init__(self, scratch: Path, page: Browser | None) -> None:
        self._scratch = scratch
        self._page = page

    @contextlib.asynccontextmanager
    async def client(self, sdk: Sdk, name: str, options: SdkOptions) -> AsyncIterator[SdkClient]:
        """Start a client of this SDK; `name` is its own and tells it apart in messages."""
        if sdk is not JAVASCRIPT:
            async with ProcessClient.start(
                name, driver_command(sdk), options, self._scratch / name
            ) as client:
                yield client
        elif self._page is None:
            raise DriverError("the browser is not running")
        else:
            async with self._page.client(name, options) as opened:
                yield opened


@contextlib.asynccontextmanager
async def launcher(sdks: Sequence[Sdk], scratch: Path) -> AsyncIterator[Launcher]:
    """Make ready to start clients of these SDKs, keeping their files in `scratch`."""
    async with contextlib.AsyncExitStack() as stack:
        page = None
        if JAVASCRIPT in sdks:
            page = await stack.enter_async_context(browser(chromium() or "chromium", scratch / "browser"))
        yield Launcher(scratch, page)
