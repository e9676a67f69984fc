"""New options in a running proxy: by signal and by API, in one process and in several."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.local_http import local_http
from tests.support.ports import free_port

PATIENCE: Final = 30.0


@dataclass(frozen=True)
class Running:
    """A proxy that serves one of three environments, and the file with its options."""

    proxy: Proxy
    admin: str
    config: Path
    keys: list[str]
    http: httpx2.AsyncClient

    def write(self, *keys: str, **options: str) -> None:
        """Write the file anew."""
        given = {"api-keys": ",".join(keys or self.keys[:1]), "admin-token": "first"}
        given |= {name.replace("_", "-"): value for name, value in options.items()}
        self.config.write_text("".join(f'{name} = "{value}"\n' for name, value in given.items()))

    async def ask(self, path: str, token: str = "first") -> Any:
        """The admin API's answer."""
        answer = await self.http.get(self.admin + path, headers={"Authorization": f"Bearer {token}"})
        return answer.json() if answer.status_code == 200 else answer.status_code

    async def allowed(self, origin: str) -> str | None:
        """What a browser of that origin is told."""
        answer = await self.http.get(f"{self.proxy.url}/health/live", headers={"Origin": origin})
        return answer.headers.get("access-control-allow-origin")


@contextlib.asynccontextmanager
async def running(folder: Path, workers: str) -> AsyncIterator[Running]:
    """Until the context is left."""
    admin, config = f"127.0.0.1:{free_port()}", folder / "config.toml"
    async with sandbox(*default_environments()) as saas, local_http() as http:
        options = online_options(saas, [])
        del options["api-keys"]
        options |= {"config": str(config), "workers": workers, "admin-address": admin, "shutdown-delay": "0"}
        proxy = Proxy(options, folder / "proxy.log")
        keys = [_server_key(one) for one in saas.state.environments.values()]
        made = Running(proxy, f"http://{admin}", config, keys, http)
        made.write()
        try:
            await proxy.start()
            yield made
            await proxy.stop()
        finally:
            await proxy.kill()


def _server_key(environment: Environment) -> str:
    return next(key.text for key in environment.keys if key.type == "Server")


@pytest.mark.parametrize("by", ["signal", "api"])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_new_options_are_taken_up_and_no_stream_ends(tmp_path: Path, workers: str, by: str) -> None:
    """A key, the admin token, origins and the log level, of all processes at once."""
    async with running(tmp_path, workers) as here, asyncio.timeout(PATIENCE * 2):
        login = await here.http.post(f"{here.proxy.url}/client/auth", json={"apiKey": here.keys[0]})
        fields = {"Authorization": f"Bearer {login.json()['authToken']}", "API-Key": here.keys[0]}
        async with here.http.stream("GET", f"{here.proxy.url}/stream", headers=fields, timeout=60) as stream:
            assert stream.status_code == 200
            assert len((await here.ask("/api/status"))["environments"]) == 1
            here.write(
                *here.keys[:2],
                admin_token="second",
                cors_allowed_origins="https://app.example",
                log_level="DEBUG",
            )
            if by == "signal":
                process = here.proxy._process
                assert process is not None
                os.kill(process.pid, signal.SIGHUP)
            else:
                headers = {"Authorization": "Bearer first"}
                told = (await here.http.post(f"{here.admin}/api/reload", headers=headers)).json()
                assert set(told["changed"]) == {
                    "admin-token",
                    "api-keys",
                    "cors-allowed-origins",
                    "log-level",
                }
                assert told["restart"] == told["problems"] == []
            while await here.ask("/api/log-level", "second") != {  # noqa: ASYNC110  (of another process)
                "level": "DEBUG",
                "environments": {},
            }:
                await asyncio.sleep(0.05)
            assert await here.ask("/api/status") == 401
            # Each of the workers may be the one that answers.
            for _ in range(8):
                async with local_http() as other:
                    asked = replace(here, http=other)
                    while await asked.allowed("https://evil.example"):  # noqa: ASYNC110  (as above)
                        await asyncio.sleep(0.05)
            assert await here.allowed("https://app.example") == "https://app.example"
            while sum(one["loaded"] for one in await here.ask("/api/environments", "second")) < 2:
                assert (await here.http.get(f"{here.proxy.url}/health/ready")).status_code == 200
                await asyncio.sleep(0.05)
            late = await here.http.post(f"{here.proxy.url}/client/auth", json={"apiKey": here.keys[1]})
            assert late.status_code == 200
            assert not stream.is_closed
            assert not stream.is_stream_consumed


async def test_a_reload_is_refused_as_a_whole(tmp_path: Path) -> None:
    """What would be right by itself is not taken up either."""
    async with running(tmp_path, "1") as here:
        here.write(cors_allowed_origins="https://app.example", log_level="LOUD")
        headers = {"Authorization": "Bearer first"}
        answer = await here.http.post(f"{here.admin}/api/reload", headers=headers)
        assert answer.status_code == 409
        assert "log-level" in answer.json()["problems"][0]
        assert await here.allowed("https://evil.example") == "*"
        assert (await here.ask("/api/log-level"))["level"] == "INFO"
