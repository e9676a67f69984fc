"""A fleet behind HAProxy is replaced one by one by a newer build, and back again: nobody notices."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, ProxyError, online_options, sandbox
from tests.sdk.client import ProcessClient, SdkClient, SdkOptions
from tests.sdk.prepare import missing_tools, prepare
from tests.sdk.sdks import NODEJS, PYTHON, launcher
from tests.support.balancer import Balancer, haproxy
from tests.support.builds import NEWER, newer_build
from tests.support.fleet import TICK, counted, fleet, late_checks, metrics
from tests.support.load import POSTED, Load
from tests.support.redis_server import redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually

_STREAMS: Final = 20
_TARGET: Final = {"identifier": "zed", "name": "zed", "attributes": {}}
# HAProxy takes a member out after two checks that failed, half a second in these tests.
_ORDERLY: Final = {"shutdown-delay": "2", "shutdown-deadline": "6"}


@dataclass
class Applications:
    """Streams that are opened again when they end, as SDKs do."""

    url: str
    begun: int = 0
    ends: list[float] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def all_listen(self) -> bool:
        """Whether each has a stream; what keeps one from being opened again is raised."""
        for task in self._tasks:
            if task.done():
                task.result()
        return self.begun - len(self.ends) == _STREAMS

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """For as long as the context lasts; what keeps a stream from being opened again is raised here."""
        tasks = self._tasks = [asyncio.create_task(self._listen()) for _ in range(_STREAMS)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            failed = [
                error
                for error in await asyncio.gather(*tasks, return_exceptions=True)
                if error is not None and not isinstance(error, asyncio.CancelledError)
            ]
        assert failed == []

    async def _listen(self) -> None:
        async with SdkLike.connected(self.url, KEYS[DEV]) as client:
            while True:
                # A member that is stopping may take one in its last moment.
                async with client.stream(balanced=True) as stream:
                    self.begun += 1
                    while await stream.record() != b"":
                        pass
                self.ends.append(time.monotonic())


@pytest.mark.timeout(240)
async def test_nobody_notices_an_upgrade_or_the_way_back(tmp_path: Path) -> None:
    """No request is refused, no SDK stays on old values, every count arrives, and streams end one by one."""
    newer = newer_build(tmp_path / "newer")
    sdks = [sdk for sdk in (PYTHON, NODEJS) if not missing_tools(sdk.name)]
    prepare(sdk.name for sdk in sdks)
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path / "redis"))
        members = dict.fromkeys(("one", "two", "replica"), _ORDERLY)
        running = await stack.enter_async_context(fleet(tmp_path, f"127.0.0.1:{redis.port}", **members))
        balancer = await stack.enter_async_context(haproxy(running.members, tmp_path))
        launch = await stack.enter_async_context(launcher(sdks, tmp_path / "sdks"))
        options = SdkOptions(KEYS[DEV], balancer.url, balancer.url, _TARGET)
        clients = [await stack.enter_async_context(launch.client(sdk, sdk.name, options)) for sdk in sdks]
        for client in clients:
            assert await client.initialised(within=60)
        applications = Applications(balancer.url)
        late = 0.0
        load = Load([balancer] * 2, seed=7)
        async with applications.listening(), load.running():
            for environ in (newer, {}):
                for member in running.members:
                    await eventually(applications.all_listen)
                    before = len(applications.ends)
                    # What it has counted is gone with it.
                    late += await late_checks(member)
                    await member.stop()
                    member.environ = environ
                    await member.start()
                    _ended_one_by_one(applications.ends[before:])
                    await _all_see(str(running.ticker.tick()), clients, balancer)
                for member in running.members:
                    assert (f'version="{NEWER}"' in await metrics(member)) is (environ is newer)
        # A store that did not answer in time is served without.
        assert len(load.wrong) <= late + await running.late_checks(), load.wrong
        for client in clients:
            # Behind a balancer that keeps connections for minutes the Node.js SDK keeps its process alive.
            assert isinstance(client, ProcessClient)
            await client.kill()

        async def arrived() -> bool:
            return counted(running.saas, POSTED) == load.tried

        await eventually(arrived)


def _ended_one_by_one(ends: list[float]) -> None:
    """Those of one member's streams: their SDKs come back spread out."""
    if len(ends) > 1:
        assert max(ends) - min(ends) > 0.05 * len(ends), "streams are to end one by one"


async def _all_see(value: str, clients: list[SdkClient], balancer: Balancer) -> None:
    async with SdkLike.connected(balancer.url, KEYS[DEV]) as client:

        async def served() -> bool:
            return str(await client.value(TICK)) == value

        await eventually(served)
    await asyncio.gather(
        *(client.until("string", TICK, _TARGET, "", expected=value, within=30) for client in clients)
    )


async def test_the_way_back_from_a_newer_file_says_what_to_do(tmp_path: Path) -> None:
    """The older build refuses it and leaves it whole; the newer one then goes on with it."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | {"data-dir": str(tmp_path / "data")}
        async with Proxy.running(options, tmp_path / "log") as proxy:
            async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                await client.authenticate({"identifier": "zed", "attributes": {"country": "DE"}})
            await proxy.stop()
            newer = proxy.environ = newer_build(tmp_path / "newer")
            await proxy.start()
            async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                assert "EUR" in await client.value("price_display", "zed")
            await proxy.stop()
            proxy.environ = {}
            with pytest.raises(ProxyError, match="exit status 3"):
                await proxy.start()
            refusal = proxy.last_words().splitlines()[-1]
            assert "written by a newer ff-proxy (layout 2, this one reads 1)" in refusal
            assert "start that version again, or move the file away" in refusal
            proxy.environ = newer
            await proxy.start()
            async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                assert "EUR" in await client.value("price_display", "zed")
