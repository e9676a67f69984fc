"""SDK keys that a reload takes away: what their SDKs are told, in one process, in several, and in a fleet."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from ff_proxy.http.response import BAD_GATEWAY
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.sandbox.keys import known_key
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.fleet import leads
from tests.support.local_http import local_http
from tests.support.ports import free_port
from tests.support.redis_server import redis_command, redis_server, redis_server_at
from tests.support.sdk_like import DEV, KEYS, PROD, SdkLike, eventually
from tests.support.streams import StreamClient

SECOND: Final = "sandbox-dev-second-server-key"
QUICK: Final = {"shutdown-delay": "0", "metric-post-duration": "1"}


def write(file: Path, *keys: str) -> None:
    """Make it a configuration with these keys."""
    file.write_text(f'api-keys = "{",".join(keys)}"\n')


@dataclass
class Operated:
    """A proxy whose keys are in a file, and its admin address."""

    proxy: Proxy
    file: Path
    admin: str
    saas: RunningSandbox
    http: httpx2.AsyncClient = field(repr=False)

    async def reload(self, *keys: str) -> Any:
        """Put these keys, and no others, into the file, and take them up."""
        write(self.file, *keys)
        answer = await self.http.post(f"{self.admin}/api/reload")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def signal(self, *keys: str) -> None:
        """Put these keys into the file, and send SIGHUP."""
        write(self.file, *keys)
        os.kill(self.proxy.pid, signal.SIGHUP)

    async def auth(self, key: str) -> int:
        """The status of an authentication over a connection of its own: any worker may answer."""
        async with local_http() as http:
            return (await http.post(f"{self.proxy.url}/client/auth", json={"apiKey": key})).status_code

    async def told(self, client: SdkLike) -> Mapping[str, int]:
        """What an SDK with its token is told, over a connection of its own."""
        async with local_http(self.proxy.url) as http:
            http.headers.update(client.headers)
            below = f"/client/env/{client.environment}"
            told = {
                "flags": (await http.get(f"{below}/feature-configs")).status_code,
                "evaluations": (await http.get(f"{below}/target/someone/evaluations")).status_code,
                "usage": (await http.post(f"/metrics/{client.environment}", json={})).status_code,
            }
            if told["flags"] != BAD_GATEWAY:  # else a stream would wait for the environment to be loaded
                async with http.stream("GET", "/stream", headers={"API-Key": client.key}) as stream:
                    told["stream"] = stream.status_code
            return told

    async def serves(self, client: SdkLike) -> bool:
        """Whether nothing of that is refused."""
        return set((await self.told(client)).values()) == {200}

    async def shown(self) -> Collection[str]:
        """The environments in ``/health``."""
        async with local_http() as http:
            found = (await http.get(f"{self.proxy.url}/health")).json()["environments"]
        return {one["id"] for one in found}

    async def measured(self) -> Collection[str]:
        """The environments of which Prometheus is told how they are."""
        text = (await self.http.get(f"{self.proxy.url}/metrics")).text
        names = ("ff_proxy_leading", "ff_proxy_stream_health", "ff_proxy_environment_")
        return {
            environment
            for line in text.splitlines()
            if line.startswith(names)
            for environment in KEYS
            if environment in line
        }


@contextlib.asynccontextmanager
async def operated(place: Path, saas: RunningSandbox, *keys: str, **options: str) -> AsyncIterator[Operated]:
    """Started with these keys, and stopped well."""
    admin, file = f"127.0.0.1:{free_port()}", place / "options.toml"
    given = (
        online_options(saas, []) | QUICK | {name.replace("_", "-"): text for name, text in options.items()}
    )
    del given["api-keys"]
    given |= {"config": str(file), "admin-address": admin}
    write(file, *keys)
    async with local_http() as http, Proxy.running(given, place / "proxy.log") as proxy:
        yield Operated(proxy, file, f"http://{admin}", saas, http)


async def ended(stream: StreamClient) -> None:
    """Read until the stream ends."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while await stream.record():
            pass


async def refused_everywhere(here: Operated, client: SdkLike, tries: int) -> None:
    """Every worker says so: so many times in a row, over connections that any of them may accept.

    A worker learns of it within a second; until then it says that the environment is not loaded.
    """
    in_a_row = 0
    async with asyncio.timeout(30):
        while in_a_row < tries:
            told = await here.told(client)
            # Java and .NET authenticate again after a 403 (spec/sdk-wire#trap-49).
            refused = told["flags"] == 403 and set(told.values()) <= {401, 403}
            in_a_row = in_a_row + 1 if refused and await here.auth(client.key) == 403 else 0


# Workers without ``data-dir`` have a file, too, and secrets that are derived from the configured keys.
@pytest.mark.parametrize(
    ("workers", "stored", "by"),
    [("1", True, "API"), ("1", False, "signal"), ("2", False, "API"), ("2", False, "signal")],
    ids=["data-dir", "memory, by signal", "workers", "workers, by signal"],
)
async def test_sdks_of_a_key_that_is_gone_are_told(
    tmp_path: Path, workers: str, by: str, *, stored: bool
) -> None:
    """Their streams end, all else is refused, and no other environment notices; as after a restart."""
    tries = 1 if workers == "1" else 24
    kept = {"data_dir": str(tmp_path / "data")} if stored else {}
    async with (
        sandbox(*default_environments()) as saas,
        operated(tmp_path, saas, KEYS[DEV], KEYS[PROD], workers=workers, **kept) as here,
        SdkLike.connected(here.proxy.url, KEYS[DEV]) as gone,
        SdkLike.connected(here.proxy.url, KEYS[PROD]) as other,
        other.stream() as untouched,
        asyncio.timeout(90),
    ):
        async with gone.stream() as stream:
            if by == "signal":
                here.signal(KEYS[PROD])
            else:
                report = await here.reload(KEYS[PROD])
                assert report == {"changed": ["api-keys"], "restart": [], "problems": []}
            await ended(stream)

        async def alone() -> bool:
            return await here.shown() == await here.measured() == {PROD}

        await refused_everywhere(here, gone, tries)
        await eventually(alone)
        assert [one["id"] for one in (await here.http.get(f"{here.admin}/api/environments")).json()] == [PROD]
        assert saas.streams.count(EnvironmentId(DEV)) == 0
        ready = await here.http.get(f"{here.proxy.url}/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")

        saas.state.flip("production", "dark_mode")
        assert (await untouched.event())["identifier"] == "dark_mode"
        assert (await other.get("/feature-configs")).status_code == 200
        assert "a restart takes them up" not in here.proxy.log.read_text()

        # The same after a restart, and the token is good again when the key is back.
        await here.proxy.stop()
        await here.proxy.start()
        await refused_everywhere(here, gone, tries)
        await here.reload(KEYS[PROD], KEYS[DEV])
        for _ in range(tries):
            await eventually(lambda: here.serves(gone))


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_another_key_of_the_environment_takes_over(tmp_path: Path, workers: str) -> None:
    """No stream ends, every token stays good, and Harness is asked with the key that is left."""
    environments = default_environments()
    environments[0].keys.append(known_key("second", "Server", SECOND))
    async with (
        sandbox(*environments) as saas,
        operated(tmp_path, saas, KEYS[DEV], SECOND, workers=workers) as here,
        SdkLike.connected(here.proxy.url, KEYS[DEV]) as one,
        SdkLike.connected(here.proxy.url, SECOND) as two,
        one.stream() as first,
        two.stream() as second,
        asyncio.timeout(60),
    ):

        async def open_with(key: str) -> bool:
            return [stream.key for stream in saas.streams.open_streams(EnvironmentId(DEV))] == [hash_key(key)]

        for removed, left in ((KEYS[DEV], SECOND), (SECOND, KEYS[DEV])):
            await here.reload(left)
            await eventually(lambda left=left: open_with(left))
            saas.state.flip("development", "dark_mode")
            for stream in (first, second):
                assert (await stream.event())["identifier"] == "dark_mode"
            for client in (one, two):
                assert await here.serves(client)
            assert await here.auth(removed) == 200
            await here.reload(KEYS[DEV], SECOND)


async def test_a_member_that_loses_a_key_leaves_its_environment_to_others(tmp_path: Path) -> None:
    """SDKs of either member notice nothing; what nobody is configured for stays in Redis, and is served."""
    with redis_server(tmp_path / "redis") as redis:
        address = f"127.0.0.1:{redis.port}"
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        async with (
            sandbox(*default_environments()) as saas,
            operated(tmp_path / "one", saas, KEYS[DEV], KEYS[PROD], redis_address=address) as one,
            operated(tmp_path / "two", saas, KEYS[DEV], KEYS[PROD], redis_address=address) as two,
            SdkLike.connected(one.proxy.url, KEYS[DEV]) as first,
            SdkLike.connected(two.proxy.url, KEYS[DEV]) as second,
            first.stream() as at_one,
            second.stream() as at_two,
            asyncio.timeout(90),
        ):
            members = (one, two)

            async def led() -> bool:
                return any([await leads(member.proxy) for member in members])

            await eventually(led)
            loser, keeper = members if await leads(one.proxy) else reversed(members)
            assert (await loser.reload(KEYS[PROD]))["restart"] == []
            await eventually(lambda: leads(keeper.proxy))

            async def left() -> bool:
                return await loser.shown() == {PROD}

            await eventually(left)
            saas.state.flip("development", "dark_mode")
            for stream in (at_one, at_two):
                assert (await stream.event())["identifier"] == "dark_mode"
            for member, client in ((one, first), (two, second)):
                assert await member.serves(client)
                assert await member.auth(KEYS[DEV]) == 200
            assert await keeper.shown() == {DEV, PROD}

            await keeper.reload(KEYS[PROD])
            await saas.streams.until(lambda count: count == 0, EnvironmentId(DEV))
            for member, client in ((one, first), (two, second)):
                assert await member.serves(client)
            await loser.reload(KEYS[PROD], KEYS[DEV])
            await eventually(lambda: leads(loser.proxy))
            saas.state.flip("development", "dark_mode")
            for stream in (at_one, at_two):
                assert (await stream.event())["identifier"] == "dark_mode"


async def test_a_member_that_waits_for_redis_forgets_what_it_kept_of_an_environment(tmp_path: Path) -> None:
    """It followed Harness without Redis; when that comes, only the environment that is left is put there."""
    port = free_port()
    async with (
        sandbox(*default_environments()) as saas,
        operated(tmp_path, saas, KEYS[DEV], KEYS[PROD], redis_address=f"127.0.0.1:{port}") as member,
        SdkLike.connected(member.proxy.url, KEYS[DEV]) as gone,
        SdkLike.connected(member.proxy.url, KEYS[PROD]) as other,
        gone.stream() as stream,
        other.stream() as untouched,
        asyncio.timeout(90),
    ):
        assert (await member.reload(KEYS[PROD]))["restart"] == []
        await saas.streams.until(lambda count: count == 0, EnvironmentId(DEV))
        with redis_server_at(tmp_path / "redis", port):
            await ended(stream)
            assert await member.auth(KEYS[DEV]) == 403
            saas.state.flip("production", "dark_mode")
            assert (await untouched.event())["identifier"] == "dark_mode"

            async def joined() -> bool:
                return (
                    redis_command(port, "SMEMBERS", "ffp:environments")
                    == b"*1\r\n$36\r\n%s\r\n" % PROD.encode()
                )

            await eventually(joined)
            await member.proxy.stop()
