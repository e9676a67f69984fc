"""The two ends of an integration test: a sandbox as SaaS, and the proxy as a real process."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Final, Self

import httpx2

from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.server import serve
from ff_proxy.sandbox.state import SandboxState
from tests.support.fork_server import ProxyProcess, start_proxy
from tests.support.local_http import local_http
from tests.support.looks import until_next_look
from tests.support.ports import free_port

READY_WITHIN: Final = 60.0
EXIT_WITHIN: Final = 30.0
ASKED_PER_WORKER: Final = 4


class ProxyError(Exception):
    """The proxy did not start, or did not end as it should: the text has the end of its log."""


@contextlib.asynccontextmanager
async def sandbox(*environments: Environment) -> AsyncIterator[RunningSandbox]:
    """A SaaS on loopback that serves these environments.

    ``state.flip``, ``state.put`` and ``state.drop`` change what it serves and tell its streams,
    ``streams.cut`` ends them, ``usage`` is what was posted to it, ``journal`` what was asked of it.
    """
    async with serve(SandboxState(environments)) as running:
        yield running


def online_options(saas: RunningSandbox, api_keys: Iterable[str]) -> dict[str, str]:
    """The options of a proxy in front of a sandbox."""
    return {
        "account-identifier": saas.state.account,
        "org-identifier": next(iter(saas.state.environments.values())).info.organization_identifier,
        "admin-service": saas.admin_url,
        "admin-service-token": saas.state.admin_token,
        "api-keys": ",".join(api_keys),
        "client-service": saas.client_url,
        "metric-service": saas.client_url,
        "sdk-base-url": saas.client_url,
        "sdk-events-url": saas.client_url,
    }


def offline_options(directory: Path) -> dict[str, str]:
    """The options of a proxy that serves from a directory."""
    return {"offline": "true", "config-dir": str(directory)}


class Proxy:
    """A proxy as its users run it: a process with options, a port and a log.

    It may be stopped and started again; it keeps its port.

    Args:
        options: by the names of spec/behaviour#options, without a dash.
        log: the file that its output is appended to.
        fresh: whether it starts with an interpreter of its own (see ``tests.support.fork_server``).

    Attributes:
        environ: variables that the process has from its next start on, beside those that every one has.
    """

    def __init__(self, options: Mapping[str, str], log: Path, *, fresh: bool = False) -> None:
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._options = {"admin-address": "off", "shutdown-delay": "1", **options, "port": str(self.port)}
        self.environ: dict[str, str] = {}
        self._fresh = fresh
        self._process: ProxyProcess | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, options: Mapping[str, str], log: Path, *, fresh: bool = False
    ) -> AsyncIterator[Self]:
        """A proxy that is ready; it is stopped at the end, which must go well, and reaped in any case."""
        proxy = cls(options, log, fresh=fresh)
        try:
            await proxy.start()
            yield proxy
            await proxy.stop()
        finally:
            await proxy.kill()

    async def start(self) -> None:
        """Start the process and wait until it is ready."""
        await self.launch()
        await self.until_ready()

    async def launch(self) -> None:
        """Start the process."""
        flags = [f"-{name}={value}" for name, value in self._options.items()]
        with self.log.open("ab") as output:
            self._process = await start_proxy(
                *flags, output=output.fileno(), environ=self.environ, fresh=self._fresh
            )

    async def stop(self) -> None:
        """SIGTERM, and wait: the exit code must be 0."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(EXIT_WITHIN):
                status = await process.wait()
        except TimeoutError:
            raise ProxyError(f"still running {EXIT_WITHIN} s after SIGTERM\n{self.last_words()}") from None
        self._process = None
        if status:
            raise ProxyError(f"exit status {status}\n{self.last_words()}")

    async def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None

    @property
    def pid(self) -> int:
        """Of the process that was started: the only one, or the supervisor."""
        assert self._process is not None, f"the proxy at {self.url} does not run"
        return self._process.pid

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    async def until_ready(self) -> None:
        """Wait until the process that was launched is ready; of workers, until all seem to be.

        A connection is any worker's, so several in a row must find one that is.
        """
        process = self._process
        assert process is not None
        began = time.monotonic()
        workers = int(self._options.get("workers", "1"))
        wanted = 1 if workers == 1 else workers * ASKED_PER_WORKER
        ready = 0
        async with local_http(timeout=5.0) as http:
            while time.monotonic() - began < READY_WITHIN and process.returncode is None:
                answer = None
                with contextlib.suppress(httpx2.TransportError):
                    answer = await http.get(f"{self.url}/health/ready", headers={"Connection": "close"})
                if answer is not None and answer.status_code == httpx2.codes.OK:
                    ready += 1
                    if ready == wanted:
                        return
                    continue
                ready = 0
                await asyncio.sleep(until_next_look(began))
        raise ProxyError(f"not ready, exit status {process.returncode}\n{self.last_words()}")
