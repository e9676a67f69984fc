"""The programs of docs/sdks and docs/ofrep.md, as they stand there: each says a value, and sees a flip."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Protocol

import pytest
from _pytest.mark import ParameterSet

from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.sdk.chromium import page
from tests.sdk.client import environment
from tests.sdk.prepare import (
    GO,
    JAVA,
    NODE,
    OPENFEATURE,
    OPENFEATURE_JAVA,
    REACT,
    chromium,
    executable,
    go,
    java_classpath,
    missing_tools,
    prepare,
)
from tests.support.docs_blocks import ROOT, block

WRITTEN: Final = "http://127.0.0.1:7000"
OFREP: Final = "docs/ofrep.md"
WITHIN: Final = 60.0
KEY: Final = "sandbox-dev-server-key"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def saas() -> AsyncIterator[RunningSandbox]:
    """The sandbox as ``ff-proxy sandbox`` runs it."""
    async with sandbox(*default_environments()) as running:
        yield running


@pytest.fixture
async def proxy(saas: RunningSandbox, tmp_path: Path) -> AsyncIterator[Proxy]:
    """The proxy as ``ff-proxy sandbox -proxy`` runs it."""
    async with Proxy.running(online_options(saas, [KEY]), tmp_path / "proxy.log") as running:
        yield running


class Said(Protocol):
    """Whatever tells what a program shows."""

    async def until(self, text: str) -> None:
        """Wait until it shows ``text``."""


async def sees_a_flip(saas: RunningSandbox, said: Said) -> None:
    """False at first, as the sandbox is, then true."""
    await said.until("dark_mode is false")
    saas.state.set("development", "dark_mode", "true")
    await said.until("dark_mode is true")


def _python(text: str, folder: Path) -> Sequence[str]:
    (folder / "program.py").write_text(text)
    return [sys.executable, "program.py"]


def _node(text: str, folder: Path, driver: Path = NODE) -> Sequence[str]:
    (folder / "program.mjs").write_text(text)
    (folder / "node_modules").symlink_to(driver / "node_modules")
    return [executable("node") or "node", "program.mjs"]


def _go(text: str, folder: Path, module: Path = GO) -> Sequence[str]:
    (folder / "main.go").write_text(text)
    for name in ("go.mod", "go.sum", "provider.go"):
        if (module / name).exists():
            shutil.copy(module / name, folder)
    build = [go() or "go", "build", "-buildvcs=false", "-trimpath", "-o", "program", "."]
    subprocess.run(build, cwd=folder, check=True, timeout=200)  # with the caches of whoever runs the tests
    return ["./program"]


def _java(text: str, folder: Path, driver: Path = JAVA) -> Sequence[str]:
    (folder / "Main.java").write_text(text)
    classpath = os.pathsep.join([".", *java_classpath(driver)])
    run = 'javac -cp "$0" Main.java && exec java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$0" Main'
    return ["/bin/sh", "-c", run, classpath]


@dataclass(frozen=True, slots=True)
class Language:
    """A page with a program for a terminal, and how that is run in a folder of its own."""

    page: str
    fence: str
    sdk: str
    command: Callable[[str, Path], Sequence[str]]
    optional: bool = False
    """Whether CI may lack its toolchain."""


LANGUAGES: Final = (
    Language("docs/sdks/python.md", "python", "python", _python),
    Language("docs/sdks/node.md", "js", "node", _node),
    Language("docs/sdks/go.md", "go", "go", _go, optional=True),
    Language("docs/sdks/java.md", "java", "java", _java, optional=True),
    Language(OFREP, "python", "python", _python),
    Language(OFREP, "js", "openfeature", partial(_node, driver=OPENFEATURE)),
    Language(OFREP, "go", "go", partial(_go, module=ROOT / "docs/examples/ofrep"), optional=True),
    Language(OFREP, "java", "openfeature-java", partial(_java, driver=OPENFEATURE_JAVA), optional=True),
)


def _languages() -> list[ParameterSet]:
    return [
        pytest.param(one, id=f"{Path(one.page).stem}-{one.fence}", marks=_needs(one.sdk))
        for one in LANGUAGES
        if not (one.optional and os.environ.get("CI") == "true" and missing_tools(one.sdk))
    ]


def _needs(sdk: str) -> list[pytest.MarkDecorator]:
    missing = missing_tools(sdk)
    return [pytest.mark.skip(reason=f"this machine lacks {', '.join(missing)}")] if missing else []


class Output:
    """What a process writes to its standard output."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def until(self, text: str) -> None:
        """Wait for a line with ``text`` in it, in whatever case the language writes booleans."""
        assert self._process.stdout
        heard: list[str] = []
        try:
            async with asyncio.timeout(WITHIN):
                async for line in self._process.stdout:
                    heard.append(line.decode().strip())
                    if text in heard[-1].lower():
                        return
        except TimeoutError:
            pass
        pytest.fail(f"no {text!r}, but {heard[-5:]}; {self._log.read_text(errors='replace')[-2000:]}")


@pytest.mark.parametrize("language", _languages())
async def test_a_program_for_a_terminal(
    language: Language, saas: RunningSandbox, proxy: Proxy, tmp_path: Path
) -> None:
    """It is stopped from outside, since it runs until then."""
    await asyncio.to_thread(prepare, [language.sdk])
    written = block(language.page, language.fence).text
    assert WRITTEN in written
    folder = tmp_path / "program"
    folder.mkdir()
    command = await asyncio.to_thread(language.command, written.replace(WRITTEN, proxy.url), folder)
    log = tmp_path / "program.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environment(tmp_path), stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    try:
        await sees_a_flip(saas, Output(process, log))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


_PAGE: Final = b"""<!doctype html><meta charset="utf-8"><body><div id="root"></div>
<script>
let told;
setInterval(() => {
  const text = document.body.innerText;
  if (text !== told) fetch('/shown', { method: 'POST', body: told = text });
}, 50);
</script>
<script src="/program.js" defer></script>"""


class Site(ThreadingHTTPServer):
    """Serves a page with the program; what the page shows arrives in ``shown``."""

    daemon_threads = True

    def __init__(self, program: bytes) -> None:
        super().__init__(("127.0.0.1", 0), SiteHandler)
        self.program: Final = program
        self.shown: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser that is ended resets its connections."""

    def pass_on(self, text: str) -> None:
        """Hand over what the page shows, from the thread of its request."""
        with contextlib.suppress(RuntimeError):  # the test has ended
            self._loop.call_soon_threadsafe(self.shown.put_nowait, text)

    async def until(self, text: str) -> None:
        """Wait until the page shows ``text``."""
        heard: list[str] = []
        try:
            async with asyncio.timeout(WITHIN):
                while not heard or text not in heard[-1]:
                    heard.append(await self.shown.get())
        except TimeoutError:
            pytest.fail(f"no {text!r}, but {heard[-5:]}")


class SiteHandler(BaseHTTPRequestHandler):
    """The page, the program, and what is shown."""

    server: Site

    def do_GET(self) -> None:  # the name that http.server calls
        """Serve the page or the program."""
        is_program = self.path == "/program.js"
        self._answer(
            "text/javascript" if is_program else "text/html", self.server.program if is_program else _PAGE
        )

    def do_POST(self) -> None:  # the name that http.server calls
        """Take what the page shows."""
        self.server.pass_on(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self._answer("text/plain", b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        """Say nothing."""

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)


@contextlib.contextmanager
def served(program: bytes) -> Iterator[Site]:
    """The site, in a thread."""
    with Site(program) as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


BROWSERS: Final = (
    ("docs/sdks/javascript.md", "js", REACT),
    ("docs/sdks/react.md", "jsx", REACT),
    (OFREP, "javascript", OPENFEATURE),
)
"""Pages with a program for a page in a browser, and where what it imports is installed."""


@pytest.mark.parametrize(
    ("name", "fence", "driver"),
    [pytest.param(*one, id=Path(one[0]).stem, marks=_needs("react")) for one in BROWSERS],
)
async def test_a_program_for_a_page(
    name: str,
    fence: str,
    driver: Path,
    saas: RunningSandbox,
    proxy: Proxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Bundled as an application is, on a page of another origin, in Chromium."""
    await asyncio.to_thread(prepare, ["react", "openfeature"])
    written = block(name, fence).text
    assert WRITTEN in written
    folder = tmp_path_factory.mktemp("page")  # a short path: the browser makes sockets below it
    (folder / "node_modules").symlink_to(driver / "node_modules")
    source = folder / f"program.{'jsx' if fence == 'jsx' else 'js'}"
    source.write_text(written.replace(WRITTEN, proxy.url))
    bundler = await asyncio.create_subprocess_exec(
        executable("node") or "node",
        str(REACT / "node_modules/esbuild/bin/esbuild"),
        source.name,
        *("--bundle", "--format=iife", "--jsx=automatic", "--preserve-symlinks", "--log-level=warning"),
        cwd=folder,
        env=environment(folder),
        stdout=asyncio.subprocess.PIPE,
    )
    program, _ = await bundler.communicate()
    assert bundler.returncode == 0
    with served(program) as site:
        url = f"http://127.0.0.1:{site.server_port}/"
        async with page(chromium() or "chromium", url, folder):
            await sees_a_flip(saas, site)
