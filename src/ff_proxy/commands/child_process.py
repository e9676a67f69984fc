"""Child processes of a command: started, read from, and always ended."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import httpx2

from ff_proxy.errors import StartupError

PATIENCE: Final = 30.0
"""Seconds to wait for each step of a child process."""

_LOOK_EVERY: Final = 0.05
_ENDS_WITHIN: Final = 10.0
_LAST_LINES: Final = 15
# Other variables may configure a proxy, or route loopback traffic through an outbound proxy.
_KEPT: Final = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"})


@final
class Child:
    """A running process: the lines of JSON that it writes, and its log."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self._name = name
        self._process = process
        self._log = log
        self._kept: list[dict[str, Any]] = []

    async def next_line(self) -> dict[str, Any]:
        """The next line of JSON that it writes; ``StartupError`` when there are no more."""
        output = self._process.stdout
        line = await output.readline() if output is not None else b""
        if not line:
            raise self.failure("has ended")
        content: dict[str, Any] = json.loads(line)
        return content

    async def wait_for(self, event: str) -> dict[str, Any]:
        """The next line whose ``event`` is this one; others are kept for later calls."""
        while True:
            for news in self._kept:
                if news["event"] == event:
                    self._kept.remove(news)
                    return news
            self._kept.append(await self.next_line())

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._process.returncode is not None

    async def until_failure(self) -> None:
        """Raise ``StartupError`` when it ends, which it should not."""
        await self._process.wait()
        raise self.failure("has ended")

    def failure(self, what: str) -> StartupError:
        """The error to raise if it fails, with the last lines of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        return StartupError("\n".join([f"{self._name} {what}; the end of its log:", *lines]))


@contextlib.asynccontextmanager
async def child(name: str, arguments: Sequence[str], *, speaks_json: bool) -> AsyncIterator[Child]:
    """Run ``python ARGUMENTS…`` within the context; ended with SIGTERM, and SIGKILL if that does not work.

    It has its own session, so that Ctrl-C reaches only the command, which ends it in order.
    """
    with tempfile.TemporaryDirectory(prefix="ff-proxy-child-") as directory:
        log = Path(directory) / "log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if speaks_json else errors,
                stderr=errors,
                env={key: value for key, value in os.environ.items() if key in _KEPT},
                start_new_session=True,
            )
        try:
            yield Child(name, process, log)
        finally:
            await _end(process)


@contextlib.asynccontextmanager
async def ready_proxy(options: Mapping[str, str], port: int) -> AsyncIterator[tuple[Child, str]]:
    """A proxy with these options on ``port`` of loopback, once it is ready, and its URL.

    Raises ``StartupError`` with the end of its log if it does not become ready.
    """
    given = {**options, "host": "127.0.0.1", "port": str(port), "shutdown-delay": "0"}
    arguments = ["-m", "ff_proxy", *(f"-{name}={value}" for name, value in given.items())]
    url = f"http://127.0.0.1:{port}"
    async with child("ff-proxy", arguments, speaks_json=False) as proxy:
        await _until_ready(proxy, url)
        yield proxy, url


async def _until_ready(proxy: Child, url: str) -> None:
    end = time.monotonic() + PATIENCE
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        while time.monotonic() < end and not proxy.has_ended:
            with contextlib.suppress(httpx2.TransportError):
                if (await http.get(f"{url}/health/ready")).status_code == httpx2.codes.OK:
                    return
            await asyncio.sleep(_LOOK_EVERY)
    raise proxy.failure("did not become ready")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(_ENDS_WITHIN):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
