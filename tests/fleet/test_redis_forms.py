"""Fleets on what Redis may be: failed over by Sentinels, spread over a Cluster, shared with other fleets."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.fleet import QUICK, Ticker, counted, fleet, posted, readiness
from tests.support.load import POSTED, used
from tests.support.redis_server import redis_cluster, redis_command, redis_sentinel, redis_server
from tests.support.sdk_like import DEV, KEYS, OFFICE, PROD, SdkLike, eventually

# Redis replicates a write after it has acknowledged it: what it had not sent on is lost with it.
UNREPLICATED_SECONDS = 1.0


@pytest.mark.timeout(90)
async def test_a_failover_under_load(tmp_path: Path) -> None:
    """Sentinels promote the replica: nobody is refused, no stream ends, and the next flip arrives."""
    with redis_sentinel(tmp_path) as (primary, _, sentinel):
        async with fleet(tmp_path, f"redis+sentinel://127.0.0.1:{sentinel}/main") as running:
            async with used(running.members, seed=4, shared=False) as (load, listeners), asyncio.timeout(60):
                await listeners.until_heard(running.ticker.tick())
                await asyncio.sleep(1)
                primary.stop()
                died = asyncio.get_running_loop().time()
                await listeners.until_heard(running.ticker.tick())
                await asyncio.sleep(0.5)
            assert load.wrong == []
            unsure = sum(abs(at - died) < UNREPLICATED_SECONDS for at, _ in load.posts)
            least = len(load.posts) - unsure
            await eventually(lambda: posted(running.saas, POSTED, least), 20)
            assert counted(running.saas, POSTED) <= load.tried


@pytest.mark.timeout(60)
async def test_on_a_cluster(tmp_path: Path) -> None:
    """Each environment is on one of its nodes; members subscribe at any, and hear of all."""
    with redis_cluster(tmp_path / "redis") as nodes:
        address = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        async with fleet(tmp_path, address) as running:
            async with used(running.members, seed=5, shared=True) as (load, listeners), asyncio.timeout(30):
                for _ in range(10):
                    await listeners.until_heard(running.ticker.tick())
            assert len(load.wrong) <= await running.late_checks(), load.wrong
            sent = len(load.posts)
            await eventually(lambda: posted(running.saas, POSTED, sent))
        assert all(redis_command(node.port, "DBSIZE") != b":0\r\n" for node in nodes)


async def test_fleets_and_configurations_that_share_a_redis(tmp_path: Path) -> None:
    """Members serve every environment of their prefix, whoever is configured for it, and none of another."""
    with redis_server(tmp_path / "redis") as redis:
        async with sandbox(*default_environments()) as saas, AsyncExitStack() as stack:

            async def started(name: str, prefix: str, *environments: str) -> Proxy:
                shared = {
                    "redis-address": f"127.0.0.1:{redis.port}",
                    "redis-prefix": prefix,
                    "shutdown-delay": "0",
                }
                own = (
                    online_options(saas, [KEYS[environment] for environment in environments]) | QUICK
                    if environments
                    else {"read-replica": "true"}
                )
                return await stack.enter_async_context(Proxy.running(own | shared, tmp_path / f"{name}.log"))

            first, second, other = await asyncio.gather(
                started("first", "shop", DEV),
                started("second", "shop", PROD),
                started("other", "office", OFFICE),
            )
            replica = await started("replica", "shop")
            ticker = Ticker(saas)
            for proxy in (first, second, replica):
                # A new fleet agrees on the secret for tokens within seconds; until then, a member signs
                # with what it derives from its own keys.
                await eventually(lambda proxy=proxy: _fully_ready(proxy))
                for environment in (DEV, PROD):
                    async with SdkLike.connected(proxy.url, KEYS[environment]) as client:
                        assert client.environment == environment
                        assert (await client.get("/target-segments")).status_code == 200
            async with SdkLike.connected(second.url, KEYS[DEV]) as client:
                await eventually(lambda: _serves(client, ticker.number))
            for proxy, environments in (
                (first, {DEV}),
                (second, {PROD}),
                (replica, {DEV, PROD}),
                (other, {OFFICE}),
            ):
                visitor = SdkLike(proxy.url, "none")
                async with visitor.http:
                    assert await _environments(visitor, environments)
            for proxy, environment in ((replica, OFFICE), (first, OFFICE), (other, DEV)):
                async with SdkLike(proxy.url, "none").http as http:
                    refused = await http.post("/client/auth", json={"apiKey": KEYS[environment]})
                    assert refused.status_code == 403
            assert saas.streams.count() == 3
            await second.stop()
            _forget(redis.port, "shop", PROD)
            async with SdkLike.connected(replica.url, KEYS[DEV]) as client:
                await eventually(lambda: _environments(client, {DEV}))
                refused = await client.http.post("/client/auth", json={"apiKey": KEYS[PROD]})
                assert refused.status_code == 403


def _forget(port: int, prefix: str, environment: str) -> None:
    """What docs/storage.md says of an environment that nobody is configured for any more."""
    redis_command(port, "HSET", f"{prefix}:{{{environment}}}:config", "removed", "1")
    redis_command(port, "PUBLISH", f"{prefix}:notices", environment)


async def _fully_ready(proxy: Proxy) -> bool:
    return (await readiness(proxy))[1] == "ready"


async def _environments(client: SdkLike, wanted: set[str]) -> bool:
    told = (await client.http.get("/health")).json()["environments"]
    return {one["id"] for one in told} == wanted


async def _serves(client: SdkLike, number: int) -> bool:
    return bool(await client.value("tick") == str(number))
