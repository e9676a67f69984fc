"""Members and a replica around one Redis: one of them talks to SaaS, all of them serve (issue: a fleet)."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ff_proxy.sandbox.keys import known_key
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.server import RunningSandbox
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.redis_server import RedisServer, redis_command, redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually

QUICK = {
    "flag-poll-interval": "1",
    "api-key-refresh-interval": "60",
    "shutdown-delay": "0",
    "metric-post-duration": "1",
}


@dataclass
class Fleet:
    """Two members and a replica, all ready."""

    saas: RunningSandbox
    redis: RedisServer
    one: Proxy
    two: Proxy
    replica: Proxy

    @property
    def members(self) -> list[Proxy]:
        """Everybody who serves."""
        return [self.one, self.two, self.replica]


@asynccontextmanager
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Started one after another, and stopped well."""
    with redis_server(tmp_path / "redis") as redis:
        async with AsyncExitStack() as stack:
            saas = await stack.enter_async_context(sandbox(*default_environments()))
            shared = {"redis-address": f"127.0.0.1:{redis.port}", "shutdown-delay": "0"}
            online = online_options(saas, KEYS.values()) | QUICK | shared
            one = await stack.enter_async_context(Proxy.running(online, tmp_path / "one.log"))
            two = await stack.enter_async_context(Proxy.running(online, tmp_path / "two.log"))
            replica = await stack.enter_async_context(
                Proxy.running({"read-replica": "true"} | shared, tmp_path / "replica.log")
            )
            yield Fleet(saas, redis, one, two, replica)
    for proxy in (one, two, replica):
        assert "Traceback" not in proxy.log.read_text()


async def hears(client: SdkLike, version: int, stack: AsyncExitStack) -> asyncio.Task[float]:
    """A task that ends when the client's stream has told of that version of dark_mode."""
    stream = await stack.enter_async_context(client.stream())

    async def listen() -> float:
        while True:
            event = await stream.event()
            if event["identifier"] == "dark_mode" and event["version"] >= version:
                answer = await client.get("/feature-configs/dark_mode")
                assert answer.json()["version"] >= event["version"], "an event, then a fetch, went backwards"
                return time.monotonic()

    return asyncio.create_task(listen())


async def version_of(client: SdkLike) -> int:
    """The version of dark_mode that is served."""
    version: int = (await client.get("/feature-configs/dark_mode")).json()["version"]
    return version


async def test_a_fleet_serves_as_one(tmp_path: Path) -> None:
    """One connection up; tokens, targets and flips are everybody's; usage adds up."""
    async with fleet(tmp_path) as running, AsyncExitStack() as stack:
        await running.saas.streams.until(lambda count: count == 3)
        clients = [
            await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
            for proxy in running.members
        ]
        # A token of one is good at all; a target authenticated on one evaluates on another.
        one, two, replica = clients
        await one.authenticate({"identifier": "zed", "attributes": {"plan": "enterprise", "country": "DE"}})
        values = {await client.value("checkout_flow", "zed") for client in clients}
        assert len(values) == 1
        for client in (two, replica):
            client.token = one.token
            assert (await client.get("/feature-configs")).status_code == 200
        # A flip reaches all, each through its own stream, and is what each then serves.
        before = await version_of(one)
        waiting = [await hears(client, before + 1, stack) for client in clients]
        running.saas.state.flip("development", "dark_mode")
        async with asyncio.timeout(10):
            await asyncio.gather(*waiting)
        # Usage posted anywhere arrives once.
        for _ in range(5):
            for client in clients:
                await client.post_usage("dark_mode", 2)

        async def arrived() -> bool:
            return sum(entry.count for entry in running.saas.usage.sums()) >= 30

        await eventually(arrived, 20)
        await asyncio.sleep(1.5)
        assert sum(entry.count for entry in running.saas.usage.sums()) == 30
        # A key that SaaS knows and nobody here yet works at the member that does not lead.
        added = known_key("second", "Server", "brand-new-server-key")
        running.saas.state.find("development").keys.append(added)
        for proxy in (running.two, running.one):
            async with SdkLike.connected(proxy.url, added.text) as newcomer:
                assert newcomer.environment == DEV


@pytest.mark.timeout(60)
async def test_a_dead_leader_is_replaced(tmp_path: Path) -> None:
    """Kill -9 under load: the next flip arrives at the others within seconds (a lease lasts six)."""
    async with fleet(tmp_path) as running, AsyncExitStack() as stack:
        await running.saas.streams.until(lambda count: count == 3)
        leader = next(p for p in (running.one, running.two) if '"leading"' in p.log.read_text())
        others = [proxy for proxy in running.members if proxy is not leader]
        clients = [await stack.enter_async_context(SdkLike.connected(p.url, KEYS[DEV])) for p in others]
        before = await version_of(clients[0])
        waiting = [await hears(client, before + 1, stack) for client in clients]
        await leader.kill()
        running.saas.state.flip("development", "dark_mode")
        killed = time.monotonic()
        async with asyncio.timeout(20):
            heard = await asyncio.gather(*waiting)
        # The lease (6 s), the next try (1 s), and what it takes to connect and fetch.
        assert max(heard) - killed < 15
        for client in clients:
            assert await version_of(client) == before + 1
        await leader.start()


@pytest.mark.timeout(60)
async def test_redis_stopped_and_emptied(tmp_path: Path) -> None:
    """No read fails, no stream ends; afterwards it is filled again and changes flow."""
    async with fleet(tmp_path) as running, AsyncExitStack() as stack:
        await running.saas.streams.until(lambda count: count == 3)
        clients = [
            await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
            for proxy in running.members
        ]
        await clients[0].authenticate({"identifier": "zed", "attributes": {"plan": "enterprise"}})
        value = await clients[1].value("checkout_flow", "zed")
        before = await version_of(clients[0])
        waiting = [await hears(client, before + 1, stack) for client in clients]
        running.redis.stop()
        end = time.monotonic() + 6
        while time.monotonic() < end:
            client = random.choice(clients)
            for path in ("/feature-configs", "/target-segments", "/target/somebody/evaluations"):
                assert (await client.get(path)).status_code == 200, path
            assert (await client.http.get("/health/ready")).status_code == 200
            assert (await client.post_usage("dark_mode", 1)).status_code == 200
        running.redis.start()

        async def filled() -> bool:
            return b"environments" in redis_command(running.redis.port, "KEYS", "ffp:environments")

        await eventually(filled, 20)
        running.saas.state.flip("development", "dark_mode")
        async with asyncio.timeout(20):
            await asyncio.gather(*waiting)
        assert await clients[2].value("checkout_flow", "zed") == value, "a target was lost with Redis"
        for proxy in running.members:
            said = proxy.log.read_text()
            assert said.count("store unavailable, serving what is loaded") <= 1


async def test_members_start_without_saas_from_a_filled_redis(tmp_path: Path) -> None:
    """They serve at once, ready says degraded, and they recover by themselves."""
    with redis_server(tmp_path / "redis") as redis:
        async with sandbox(*default_environments()) as saas:
            options = online_options(saas, KEYS.values()) | QUICK
            options["redis-address"] = f"127.0.0.1:{redis.port}"
            async with Proxy.running(options, tmp_path / "first.log"):
                pass
            saas.down()
            async with Proxy.running(options, tmp_path / "second.log") as proxy:
                async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                    assert (await client.get("/feature-configs")).status_code == 200
                    ready = await client.http.get("/health/ready")
                    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
                    await saas.up()

                    async def recovered() -> bool:
                        return bool((await client.http.get("/health/ready")).json()["status"] == "ready")

                    await eventually(recovered, 25)
