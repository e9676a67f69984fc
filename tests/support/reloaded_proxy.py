"""A proxy whose options are all in one file, which tests write anew while it runs."""

import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, offline_options, online_options, sandbox
from tests.support.local_http import local_http
from tests.support.offline import bakery
from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.sdk_like import DEV, KEYS, eventually

TOKEN: Final = "the-first-admin-token"
FORMS: Final = ("online 1", "online 2", "offline 2", "replica 2")
"""Modes and how many workers each has."""
IN_FORCE: Final = "options have changed and are in force"
RESTART: Final = "options have changed, a restart takes them up"
_OUTCOMES: Final = {
    IN_FORCE,
    RESTART,
    "options have not changed",
    "the options cannot be used as they are now, the present ones stay",
}


@dataclass
class ReloadedProxy:
    """A running proxy, its file of options, and a client of its admin address.

    ``base`` are the options of the start, ``key`` is one that it serves, ``token`` that of the admin address,
    ``saas`` the simulated Harness.
    """

    proxy: Proxy
    config: Path
    base: Mapping[str, str]
    key: str
    http: httpx2.AsyncClient
    saas: RunningSandbox
    token: str = TOKEN
    _lines: list[dict[str, Any]] = field(default_factory=list, init=False)
    _read: int = field(default=0, init=False)

    @property
    def workers(self) -> int:
        """How many processes serve SDKs."""
        return int(self.base["workers"])

    def write(self, changes: Mapping[str, str | None]) -> None:
        """Write the options of the start with ``changes``, of which ``None`` leaves one out."""
        given = {**self.base, **changes}
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in given.items() if value is not None]
        self.config.write_text("".join(lines))

    async def admin(self, method: str, path: str) -> httpx2.Response:
        """An answer of the admin API."""
        url = f"http://{self.base['admin-address']}{path}"
        return await self.http.request(method, url, headers={"Authorization": f"Bearer {self.token}"})

    async def reload(self, changes: Mapping[str, str | None]) -> Any:
        """What the admin API says of these."""
        self.write(changes)
        return (await self.admin("POST", "/api/reload")).json()

    async def signal(self, changes: Mapping[str, str | None]) -> Mapping[str, Any]:
        """What the log says of these after SIGHUP: the lines by their event."""
        before = len(self._outcomes())
        self.write(changes)
        os.kill(self.proxy.pid, signal.SIGHUP)

        async def told() -> bool:
            return len(self._outcomes()) > before

        await eventually(told)
        return {line["event"]: line for line in self._outcomes()[before:]}

    def lines(self) -> list[dict[str, Any]]:
        """The log, as far as it is whole; what is new of it is read."""
        with self.proxy.log.open("rb") as log:
            log.seek(self._read)
            whole, end, _ = log.read().rpartition(b"\n")
        self._read += len(whole + end)
        self._lines += [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return self._lines

    def _outcomes(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] in _OUTCOMES]


@asynccontextmanager
async def reloaded_proxy(form: str, folder: Path, options: Mapping[str, str]) -> AsyncIterator[ReloadedProxy]:
    """One of ``FORMS`` that runs until the context is left, with ``options`` in its file besides."""
    mode, workers = form.split()
    async with AsyncExitStack() as stack:
        saas = await stack.enter_async_context(sandbox(*default_environments()))
        own = online_options(saas, [KEYS[DEV]])
        key = KEYS[DEV]
        if mode == "offline":
            bakery(folder / "bakery")
            own |= offline_options(folder / "bakery")
            key = "key-one"
        elif mode == "replica":
            redis = stack.enter_context(redis_server(folder / "redis"))
            place = {"redis-address": f"127.0.0.1:{redis.port}"}
            await stack.enter_async_context(Proxy.running(own | place, folder / "leader.log"))
            own |= place | {"read-replica": "true"}
        own |= {"admin-address": f"127.0.0.1:{free_port()}", "admin-token": TOKEN, "shutdown-delay": "0"}
        own |= {"workers": workers, **options}
        config = folder / "options.toml"
        proxy = Proxy({}, folder / "proxy.log")
        proxy._options = {"config": str(config)}  # what is a flag cannot change
        if own.get("tls-enabled") == "true":
            proxy.url = proxy.url.replace("http:", "https:")
        http = await stack.enter_async_context(local_http(timeout=30.0))
        made = ReloadedProxy(proxy, config, {**own, "port": str(proxy.port)}, key, http, saas)
        made.write({})
        try:
            await proxy.start()
            yield made
            await proxy.stop()
        finally:
            await proxy.kill()
