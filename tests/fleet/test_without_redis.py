"""Redis is a helper: what starts without it serves, and joins when it comes.

See spec/behaviour#redis-optional.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, offline_options, online_options, sandbox
from tests.support.fleet import QUICK, TICK, Ticker, readiness
from tests.support.local_http import local_http
from tests.support.offline import ENV, bakery
from tests.support.ports import free_port
from tests.support.redis_server import redis_cluster, redis_command, redis_server, redis_server_at
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_member_that_starts_without_redis_serves_and_joins(tmp_path: Path, workers: str) -> None:
    """Flips arrive before and after; tokens of both times are good at everybody."""
    port = free_port()
    shared = QUICK | {"redis-address": f"127.0.0.1:{port}"}
    async with AsyncExitStack() as stack:
        saas = await stack.enter_async_context(sandbox(*default_environments()))
        ticker = Ticker(saas)
        options = online_options(saas, KEYS.values()) | shared
        log = tmp_path / "one.log"
        one = await stack.enter_async_context(Proxy.running(options | {"workers": workers}, log))
        client = await stack.enter_async_context(SdkLike.connected(one.url, KEYS[DEV]))

        async def seen() -> bool:
            return bool(await client.value(TICK) == str(ticker.number))

        await eventually(seen)
        ticker.tick()
        await eventually(seen)
        status, state, reasons = await readiness(one)
        assert (status, state) == (200, "degraded"), reasons
        stack.enter_context(redis_server_at(tmp_path / "redis", port))

        async def joined() -> bool:
            assert await seen()
            return (await readiness(one))[:2] == (200, "ready")

        await eventually(joined, 25)
        ticker.tick()
        await eventually(seen)
        two = await stack.enter_async_context(Proxy.running(options, tmp_path / "two.log"))
        late = await stack.enter_async_context(SdkLike.connected(two.url, KEYS[DEV]))
        for proxy in (one, two):
            for token in (client.token, late.token):
                headers = {"Authorization": f"Bearer {token}"}
                answer = await client.http.get(
                    f"{proxy.url}/client/env/{DEV}/feature-configs", headers=headers
                )
                assert answer.status_code == 200, answer.text
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    "trouble",
    [
        ["--maxmemory", "1", "--maxmemory-policy", "noeviction"],
        ["--replicaof", "127.0.0.1 1"],
        ["--min-replicas-to-write", "1"],
        ["--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no"],
        ["--requirepass", "another"],
        ["--databases", "1"],
    ],
    ids=["full", "read-only", "without replicas", "stale", "password", "database"],
)
async def test_a_redis_that_is_of_no_use_at_the_start(tmp_path: Path, trouble: list[str]) -> None:
    """SDKs get what Harness says."""
    async with sandbox(*default_environments()) as saas:
        with redis_server(tmp_path / "redis", trouble) as server:
            address = f"redis://127.0.0.1:{server.port}/{5 if '--databases' in trouble else 0}"
            options = online_options(saas, KEYS.values()) | QUICK | {"redis-address": address}
            async with (
                Proxy.running(options, tmp_path / "log") as proxy,
                SdkLike.connected(proxy.url, KEYS[DEV]) as client,
            ):
                assert (await client.get("/feature-configs")).status_code == 200

                async def told() -> bool:
                    return (await readiness(proxy))[1] == "degraded"

                await eventually(told)


async def test_redis_returns_while_harness_is_away(tmp_path: Path) -> None:
    """Started while both were away: ready with what Redis holds."""
    port = free_port()
    data = ["--save", "3600 1", "--dbfilename", "kept.rdb"]
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | QUICK | {"redis-address": f"127.0.0.1:{port}"}
        with redis_server_at(tmp_path / "redis", port, data):
            async with (
                Proxy.running(options, tmp_path / "first.log") as first,
                SdkLike.connected(first.url, KEYS[DEV]) as client,
            ):

                async def stored() -> bool:
                    return redis_command(port, "EXISTS", "ffp:secret") == b":1\r\n"

                await eventually(stored)
                await client.authenticate()
                token = client.token
            redis_command(port, "SAVE")
        saas.down()
        proxy = Proxy(options, tmp_path / "second.log")
        try:
            await proxy.launch()

            async def starting() -> bool:
                try:
                    return (await readiness(proxy))[1] == "starting"
                except httpx2.TransportError:
                    return False

            await eventually(starting)
            with redis_server_at(tmp_path / "redis", port, data):
                await proxy.until_ready()
                headers = {"Authorization": f"Bearer {token}"}
                async with local_http() as http:
                    path = f"{proxy.url}/client/env/{DEV}/feature-configs"
                    assert (await http.get(path, headers=headers)).status_code == 200
                await proxy.stop()
        finally:
            await proxy.kill()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_offline_never_waits_for_redis(tmp_path: Path, workers: str) -> None:
    """It serves its directory, signs and knows its targets."""
    bakery(tmp_path / "config")
    options = offline_options(tmp_path / "config") | {
        "redis-address": f"127.0.0.1:{free_port()}",
        "workers": workers,
    }
    async with (
        Proxy.running(options, tmp_path / "log") as proxy,
        local_http(proxy.url, timeout=10.0) as http,
    ):
        answer = await http.post("/client/auth", json={"apiKey": "key-one"})
        assert answer.status_code == 200, answer.text
        headers = {"Authorization": f"Bearer {answer.json()['authToken']}"}
        assert (await http.get(f"/client/env/{ENV}/feature-configs", headers=headers)).status_code == 200

        async def told() -> bool:
            return "Redis is not of use" in (await readiness(proxy))[2]

        await eventually(told)


async def test_a_cluster_that_is_none_or_gone_is_an_outage(tmp_path: Path) -> None:
    """At the start as well as out of full service: members stay up and serve."""
    async with sandbox(*default_environments()) as saas:
        online = online_options(saas, KEYS.values()) | QUICK
        nowhere = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
        with redis_server(tmp_path / "plain") as plain, redis_server(tmp_path / "more") as more:
            none = f"127.0.0.1:{plain.port},127.0.0.1:{more.port}"
            async with (
                Proxy.running(online | {"redis-address": nowhere}, tmp_path / "nowhere.log") as without,
                Proxy.running(online | {"redis-address": none}, tmp_path / "none.log") as mistaken,
            ):
                for proxy in (without, mistaken):
                    async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                        assert (await client.get("/feature-configs")).status_code == 200
            assert "name one of a plain Redis" in mistaken.log.read_text()
        with redis_cluster(tmp_path / "cluster") as nodes:
            seeds = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
            async with (
                Proxy.running(online | {"redis-address": seeds}, tmp_path / "cluster.log") as proxy,
                SdkLike.connected(proxy.url, KEYS[DEV]) as client,
            ):
                for node in nodes:
                    node.stop()

                async def degraded() -> bool:
                    assert (await client.get("/feature-configs")).status_code == 200
                    return (await readiness(proxy))[1] == "degraded"

                await eventually(degraded, 20)


async def test_who_starts_on_an_emptied_redis_takes_the_fleets_tokens(tmp_path: Path) -> None:
    """Nobody makes up a second secret while those who know the first one are alive."""
    async with sandbox(*default_environments()) as saas:
        with redis_server(tmp_path / "redis") as server:
            options = online_options(saas, KEYS.values()) | QUICK
            options |= {"redis-address": f"127.0.0.1:{server.port}"}
            async with Proxy.running(options, tmp_path / "old.log") as old:

                async def stored() -> bool:
                    return redis_command(server.port, "EXISTS", "ffp:secret") == b":1\r\n"

                await eventually(stored)
                async with SdkLike.connected(old.url, KEYS[DEV]) as client:
                    redis_command(server.port, "FLUSHALL")
                    async with Proxy.running(options, tmp_path / "new.log") as new:
                        path = f"{new.url}/client/env/{DEV}/feature-configs"
                        statuses = set()
                        async with asyncio.timeout(20):
                            while 200 not in statuses:
                                answer = await client.http.get(path, headers=client.headers)
                                statuses.add(answer.status_code)
                                await asyncio.sleep(0.05)
                        assert statuses <= {200, 502}
                        async with SdkLike.connected(new.url, KEYS[DEV]) as other:
                            answer = await other.http.get(
                                f"{old.url}/client/env/{DEV}/feature-configs", headers=other.headers
                            )
                            assert answer.status_code == 200
