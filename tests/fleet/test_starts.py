"""Starting while something is away: alive at once, ready when there is something to serve."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.fleet import QUICK, TICK, Ticker
from tests.support.local_http import local_http
from tests.support.ports import free_port
from tests.support.redis_server import redis_server, redis_server_at
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually


@asynccontextmanager
async def launched(options: dict[str, str], log: Path) -> AsyncIterator[tuple[Proxy, httpx2.AsyncClient]]:
    """A proxy that listens, ready or not; it has to go down well in the end."""
    proxy = Proxy({"shutdown-delay": "0"} | options, log)
    async with local_http(proxy.url, timeout=10.0) as http:

        async def listening() -> bool:
            try:
                return (await http.get("/health/live")).status_code == 200
            except httpx2.TransportError:
                return False

        try:
            await proxy.launch()
            await eventually(listening)
            yield proxy, http
            await proxy.stop()
        finally:
            await proxy.kill()


async def readiness(http: httpx2.AsyncClient) -> tuple[int, Any]:
    """Status and text of the readiness probe."""
    answer = await http.get("/health/ready")
    return answer.status_code, answer.json()


async def test_a_replica_without_redis_at_the_start(tmp_path: Path) -> None:
    """A probe finds it alive, and told why it is not ready; SDKs are told to come again.

    See spec/behaviour#endpoints.
    """
    port = free_port()
    shared = {"redis-address": f"127.0.0.1:{port}"}
    async with (
        sandbox(*default_environments()) as saas,
        launched(online_options(saas, KEYS.values()) | shared, tmp_path / "one.log") as (one, of_one),
        launched({"read-replica": "true"} | shared, tmp_path / "replica.log") as (replica, of_replica),
    ):
        await one.until_ready()  # it has Harness to ask
        assert (await of_one.post("/client/auth", json={"apiKey": KEYS[DEV]})).status_code == 200
        for http in (of_replica,):
            status, told = await readiness(http)
            assert (status, told["status"]) == (503, "starting")
            assert "secret" in str(told["reasons"])
            answer = await http.post("/client/auth", json={"apiKey": KEYS[DEV]})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            answer = await http.get(
                f"/client/env/{DEV}/feature-configs", headers={"Authorization": "Bearer x"}
            )
            assert answer.status_code == 502
            answer = await http.get("/stream", headers={"Authorization": "Bearer x", "API-Key": KEYS[DEV]})
            assert (answer.status_code, answer.content) == (503, b"")

            async def explained(http: httpx2.AsyncClient = http) -> bool:
                return "store is not reachable" in str(await readiness(http))

            await eventually(explained)
        with redis_server_at(tmp_path / "redis", port):
            async with asyncio.timeout(20):
                await one.until_ready()
                await replica.until_ready()
            for proxy in (one, replica):
                async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                    assert (await client.get("/feature-configs")).status_code == 200
            # Once Redis ends, it is away again.
            for log in (one.log, replica.log):
                assert log.read_text().count("serving without it") == 1


async def test_a_start_without_redis_can_be_ended(tmp_path: Path) -> None:
    """By a signal, in order, however long Redis stays away."""
    shared = {"redis-address": f"127.0.0.1:{free_port()}", "read-replica": "true"}
    async with launched(shared, tmp_path / "log") as (_, http):
        assert (await readiness(http))[0] == 503


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
async def test_saas_down_at_the_start(tmp_path: Path, kind: str) -> None:
    """With a filled store: serves at once, says what is stale, and is in step by itself when SaaS is back.

    The tokens of the former life are good, its targets are known, and what changed meanwhile is an event.
    """
    async with AsyncExitStack() as stack:
        saas = await stack.enter_async_context(sandbox(*default_environments()))
        kept = {"data-dir": str(tmp_path / "data")}
        if kind == "redis":
            redis = stack.enter_context(redis_server(tmp_path / "redis"))
            kept = {"redis-address": f"127.0.0.1:{redis.port}"}
        options = online_options(saas, KEYS.values()) | QUICK | kept
        ticker = Ticker(saas)
        async with (
            Proxy.running(options, tmp_path / "first.log") as first,
            SdkLike.connected(first.url, KEYS[DEV]) as client,
        ):
            await client.authenticate({"identifier": "zed", "attributes": {"country": "DE"}})
            token = client.token
            stored = (await client.get("/feature-configs")).content
        if kind == "redis":
            await _says_that_nobody_leads(kept, tmp_path / "replica.log")
        saas.down()
        async with AsyncExitStack() as second:
            proxy, http = await second.enter_async_context(launched(options, tmp_path / "second.log"))
            await proxy.until_ready()
            client = await second.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
            client.token = token
            assert (await client.get("/feature-configs")).content == stored
            assert "EUR" in await client.value("price_display", "zed")
            status, told = await readiness(http)
            assert (status, told["status"]) == (200, "degraded")
            assert any("serving stored data" in reason for reason in told["reasons"])
            async with client.stream() as stream:
                ticker.tick()
                await saas.up()
                async with asyncio.timeout(25):
                    while (await stream.event())["identifier"] != TICK:
                        pass
            assert await client.value(TICK) == str(ticker.number)

            async def recovered() -> bool:
                told = (await readiness(http))[1]
                return (told["status"], told["reasons"]) == ("ready", [])

            await eventually(recovered, 25)


async def _says_that_nobody_leads(kept: dict[str, str], log: Path) -> None:
    async with launched({"read-replica": "true"} | kept, log) as (replica, http):
        await replica.until_ready()
        async with SdkLike.connected(replica.url, KEYS[DEV]) as client:
            assert (await client.get("/feature-configs")).status_code == 200

        async def told() -> bool:
            status, state = await readiness(http)
            assert status == 200
            return "nobody follows Harness" in str(state["reasons"])

        await eventually(told)
