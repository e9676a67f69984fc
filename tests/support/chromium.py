"""A headless Chromium, driven over a pipe by the Chrome DevTools Protocol: no WebDriver, no port."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

FLAGS: Final = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--no-proxy-server",
    "--force-color-profile=srgb",
)
ANSWER_WITHIN: Final = 60.0
_LONGEST: Final = 64 * 1024 * 1024


class BrowserError(Exception):
    """Chromium said no, or nothing."""


class Tab:
    """One page. Its methods answer when the page has done what was asked for."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self._session = session
        self.violations: list[str] = []

    async def send(self, method: str, **params: object) -> Mapping[str, Any]:
        """Call ``method`` of the protocol."""
        return await self._browser.send(method, params, self._session)

    async def show(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """How wide the window is, and which colours the user likes."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def scripts(self, *, run: bool) -> None:
        """Whether pages may run scripts."""
        await self.send("Emulation.setScriptExecutionDisabled", value=not run)

    async def open(self, url: str) -> None:
        """Go there and wait until everything is loaded."""
        loaded = self._browser.event(self._session, "Page.loadEventFired")
        answer = await self.send("Page.navigate", url=url)
        if "errorText" in answer:
            raise BrowserError(f"{url}: {answer['errorText']}")
        await asyncio.wait_for(loaded, ANSWER_WITHIN)

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until ``expression`` is true in the page."""
        async with asyncio.timeout(ANSWER_WITHIN):
            while not await self.run(expression):  # noqa: ASYNC110  (the page has no other way to say so)
                await asyncio.sleep(0.05)

    async def following(self, action: str) -> None:
        """Run ``action``, which leads to another page, and wait until that is loaded."""
        loaded = self._browser.event(self._session, "Page.loadEventFired")
        await self.run(f"void ({action})")
        await asyncio.wait_for(loaded, ANSWER_WITHIN)

    async def press(self, key: str, *, follow: bool = False) -> None:
        """Press and release a key, as a keyboard does; ``follow``: it leads to another page."""
        loaded = self._browser.event(self._session, "Page.loadEventFired") if follow else None
        code = {"Enter": 13, "Tab": 9, " ": 32}.get(key, 0)
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **common)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **{**common, "text": ""})
        if loaded is not None:
            await asyncio.wait_for(loaded, ANSWER_WITHIN)

    async def picture(self, name: str) -> None:
        """Write the whole page as PNG into ``FF_PROXY_PICTURES``, if that names a directory.

        Painting and packing one takes more CPU than all that tests look at.
        """
        if not (directory := os.environ.get("FF_PROXY_PICTURES")):
            return
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        answer = await self.send(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
        await asyncio.to_thread(Path(directory, name).write_bytes, base64.b64decode(answer["data"]))


class Browser:
    """A running Chromium."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.WriteTransport) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._answers: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._events: dict[tuple[str, str], list[asyncio.Future[None]]] = {}
        self._tabs: dict[str, Tab] = {}

    async def send(
        self, method: str, params: Mapping[str, object], session: str | None = None
    ) -> Mapping[str, Any]:
        """Call ``method`` and wait for its result."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(message).encode() + b"\0")
        return await asyncio.wait_for(answer, ANSWER_WITHIN)

    def event(self, session: str, name: str) -> asyncio.Future[None]:
        """Done when the next such event comes."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._events.setdefault((session, name), []).append(future)
        return future

    @contextlib.asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """A page with cookies of its own."""
        context = (await self.send("Target.createBrowserContext", {}))["browserContextId"]
        target = {"url": "about:blank", "browserContextId": context}
        page = (await self.send("Target.createTarget", target))["targetId"]
        attached = await self.send("Target.attachToTarget", {"targetId": page, "flatten": True})
        tab = self._tabs[attached["sessionId"]] = Tab(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await tab.send(f"{domain}.enable")
        # Tests look into pages with scripts of their own; the page's own ones stay under its policy.
        yield tab
        await self.send("Target.disposeBrowserContext", {"browserContextId": context})

    async def listen(self) -> None:
        """Hand out what Chromium says, until it ends."""
        while True:
            message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
            if (answer := self._answers.pop(message.get("id", 0), None)) is not None:
                if answer.cancelled():
                    continue
                if "error" in message:
                    answer.set_exception(BrowserError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])
                continue
            session, method = message.get("sessionId", ""), message.get("method", "")
            self._note(session, method, message.get("params", {}))
            for future in self._events.pop((session, method), ()):
                if not future.done():
                    future.set_result(None)

    def _note(self, session: str, method: str, params: Mapping[str, Any]) -> None:
        """What a page should not do: errors of scripts, and what its policy forbids."""
        tab = self._tabs.get(session)
        if tab is None:
            return
        if method == "Runtime.exceptionThrown":
            tab.violations.append(str(params["exceptionDetails"].get("text")))
        elif method == "Log.entryAdded" and params["entry"]["source"] in {"security", "javascript"}:
            tab.violations.append(params["entry"]["text"])


def chromium() -> str | None:
    """The browser's program, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextlib.asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Browser]:
    """A Chromium with a profile in ``profile``; it is ended and reaped in any case."""
    program = chromium()
    assert program is not None
    to_read, to_write = os.pipe(), os.pipe()
    loop = asyncio.get_running_loop()
    # The protocol is on descriptors 3 and 4 of the browser.
    shell = f'exec "$@" 3<&{to_read[0]} 4>&{to_write[1]}'
    process = await asyncio.create_subprocess_exec(
        *("/bin/bash", "-c", shell, "bash", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"),
        pass_fds=(to_read[0], to_write[1]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_read[0])
    os.close(to_write[1])
    reader = asyncio.StreamReader(limit=_LONGEST)
    reading, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(to_write[0], "rb", 0)
    )
    writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(to_read[1], "wb", 0))
    running = Browser(reader, writing)
    listening = asyncio.create_task(running.listen())
    try:
        yield running
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        writing.close()
        reading.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
