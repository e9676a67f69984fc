"""Workers over every store, and in every mode that serves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ff_proxy.model.keys import hash_key
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, offline_options, online_options, sandbox
from tests.support.offline import ENV, OTHER, bakery, write_files
from tests.support.redis_server import RedisServer, redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually
from tests.support.workers import SYNC, kill, pids

QUICK = {"workers": "2", "shutdown-delay": "0", "metric-post-duration": "1"}


@asynccontextmanager
async def on_redis(tmp_path: Path, **more: str) -> AsyncIterator[tuple[RunningSandbox, RedisServer, Proxy]]:
    """A sandbox, a Redis, and workers on it."""
    with redis_server(tmp_path / "redis") as redis:
        async with sandbox(*default_environments()) as saas:
            options = online_options(saas, KEYS.values()) | QUICK | more
            options["redis-address"] = f"127.0.0.1:{redis.port}"
            async with Proxy.running(options, tmp_path / "log", fresh=True) as proxy:
                yield saas, redis, proxy


async def flips_reach(saas: RunningSandbox, proxy: Proxy, seconds: float = 10.0) -> None:
    """A flip at the sandbox reaches streams, and then whoever asks."""
    async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
        async with client.stream() as stream, asyncio.timeout(seconds):
            before = (await client.get("/feature-configs/dark_mode")).json()["version"]
            saas.state.flip("development", "dark_mode")
            while (event := await stream.event())["version"] <= before:
                pass
            for _ in range(8):
                held = (await client.get("/feature-configs/dark_mode")).json()["version"]
                assert held >= event["version"]


async def test_on_redis_each_worker_reads_it_itself(tmp_path: Path) -> None:
    """The sync process leads; when it dies, its successor leads at once, with the same lease."""
    async with on_redis(tmp_path) as (saas, _, proxy):
        await flips_reach(saas, proxy)
        async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
            await client.authenticate({"identifier": "zed", "attributes": {"device": "desktop"}})
            for _ in range(8):
                assert await client.value("search_results_per_page", "zed") == "50"
                await client.post_usage("dark_mode", 1)
            answer = await client.http.post("/client/auth", json={"apiKey": "no-such-key"})
            assert answer.status_code == 403
            await kill(proxy, SYNC)
            for _ in range(20):
                assert (await client.get("/feature-configs")).status_code == 200
                assert (await client.http.get("/health/ready")).status_code == 200
            # Less than what a lease lasts (6 s): nobody had to wait for its end.
            async with asyncio.timeout(5):
                await saas.streams.until(lambda count: count == 3)
            await flips_reach(saas, proxy)

            async def arrived() -> bool:
                return sum(entry.count for entry in saas.usage.sums()) >= 8

            await eventually(arrived)


async def test_replicas_need_no_sync_process(tmp_path: Path) -> None:
    """They share a port and the figures, and follow the same Redis."""
    async with on_redis(tmp_path) as (saas, redis, _):
        options = {"read-replica": "true", "redis-address": f"127.0.0.1:{redis.port}"} | QUICK
        async with Proxy.running(options, tmp_path / "replica.log", fresh=True) as replicas:
            assert set(pids(replicas)) == {"worker-1", "worker-2"}
            await flips_reach(saas, replicas)
            await kill(replicas, "worker-1")
            await flips_reach(saas, replicas)
            async with SdkLike.connected(replicas.url, KEYS[DEV], keep_alive=False) as client:
                assert (await client.post_usage("dark_mode", 4)).status_code == 200

            async def arrived() -> bool:
                return sum(entry.count for entry in saas.usage.sums()) == 4

            await eventually(arrived)


async def test_a_data_directory_serves_without_saas(tmp_path: Path) -> None:
    """At once and degraded, on every worker, with the tokens and targets of before."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | QUICK | {"data-dir": str(tmp_path / "data")}
        async with Proxy.running(options, tmp_path / "log", fresh=True) as proxy:
            async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                await client.authenticate({"identifier": "zed", "attributes": {"device": "desktop"}})
                token = client.token
        saas.down()
        async with Proxy.running(options, tmp_path / "log2", fresh=True) as proxy:
            async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
                client.token = token
                for _ in range(8):
                    assert await client.value("search_results_per_page", "zed") == "50"
                    ready = await client.http.get("/health/ready")
                    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
            await saas.up()
            async with asyncio.timeout(20):
                await saas.streams.until(lambda count: count == 3)
            await flips_reach(saas, proxy)


@pytest.mark.parametrize("killed", [(), (SYNC,)])
async def test_offline_edits_reach_every_worker(tmp_path: Path, killed: tuple[str, ...]) -> None:
    """The directory is followed by one process; its successor goes on where it ended."""
    directory = tmp_path / "config"
    place = bakery(directory)
    options = offline_options(directory) | {"workers": "2", "shutdown-delay": "0"}
    async with Proxy.running(options, tmp_path / "log", fresh=True) as proxy:
        async with SdkLike.connected(proxy.url, "key-one", keep_alive=False) as client:
            await client.authenticate({"identifier": "zed", "attributes": {"shift": "night"}})
            async with client.stream() as stream:
                for name in killed:
                    await kill(proxy, name)
                file = place / "feature_config.json"
                file.write_text(file.read_text().replace('"state": "on"', '"state": "off"'))
                async with asyncio.timeout(15):
                    event = await stream.event()
                assert (event["identifier"], event["event"]) == ("glaze", "patch")
                for _ in range(8):
                    held = (await client.get("/feature-configs/glaze")).json()
                    assert held["version"] >= event["version"]
                    assert held["state"] == "off"
                    assert (await client.http.get("/health/ready")).status_code == 200
            answer = await client.http.post("/client/auth", json={"apiKey": "no-such-key"})
            assert answer.status_code == 403


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_environment_removed_from_the_directory_is_refused(tmp_path: Path, workers: str) -> None:
    """Once its grace is over, as one without keys is online; before that and once it is back it is served."""
    directory = tmp_path / "config"
    place = bakery(directory)
    write_files(directory / f"env-{OTHER}", auth_config=[hash_key("key-other")], feature_config=[])
    options = offline_options(directory) | {"workers": workers, "shutdown-delay": "0", "offline-grace": "2"}
    async with Proxy.running(options, tmp_path / "log", fresh=workers != "1") as proxy:
        async with SdkLike.connected(proxy.url, "key-one", keep_alive=False) as client:
            await client.authenticate({"identifier": "zed"})
            aside = place.rename(tmp_path / "aside")
            seen: set[int] = set()

            async def refused() -> bool:
                statuses = {(await client.get("/feature-configs")).status_code for _ in range(4)}
                seen.update(statuses)
                return statuses == {403}

            await eventually(refused)
            assert seen == {200, 403}
            paths = ("/feature-configs/glaze", "/target-segments", "/target/zed/evaluations")
            assert {(await client.get(path)).status_code for path in paths} == {403}
            assert (await client.post_usage("glaze", 1)).status_code == 403
            answer = await client.http.post("/client/auth", json={"apiKey": "key-one"})
            assert answer.status_code == 403
            aside.rename(place)

            async def served() -> bool:
                return {(await client.get("/feature-configs")).status_code for _ in range(4)} == {200}

            await eventually(served)


@pytest.mark.parametrize("offline", [True, False])
async def test_one_process_says_how_the_proxy_is(tmp_path: Path, offline: bool) -> None:
    """And not as many as there are workers."""
    async with sandbox(*default_environments()) as saas:
        bakery(tmp_path / "config")
        options = offline_options(tmp_path / "config") if offline else online_options(saas, KEYS.values())
        async with Proxy.running(
            options | QUICK | {"heartbeat-interval": "1"}, tmp_path / "log", fresh=True
        ) as proxy:

            def beats() -> list[str]:
                said = [json.loads(line) for line in proxy.log.read_text().splitlines()]
                return [line["process"] for line in said if line["event"] == "heartbeat healthy"]

            async def beaten() -> bool:
                return len(beats()) > 1

            await eventually(beaten)
            assert set(beats()) == {SYNC}


async def test_without_tokens_the_path_decides(tmp_path: Path) -> None:
    """``bypass-auth`` is every worker's."""
    bakery(tmp_path / "config")
    options = offline_options(tmp_path / "config") | {"workers": "2", "bypass-auth": "true"}
    async with Proxy.running(options | {"shutdown-delay": "0"}, tmp_path / "log", fresh=True) as proxy:
        client = SdkLike(proxy.url, "key-one", keep_alive=False)
        async with client.http:
            for _ in range(6):
                answer = await client.http.get(f"/client/env/{ENV}/feature-configs")
                assert answer.status_code == 200
                assert (await client.http.get("/client/env/nowhere/feature-configs")).status_code == 404


async def test_no_value_of_a_target_ends_a_worker(tmp_path: Path) -> None:
    """Between processes and in the store: everybody goes on, and so does who reads the target later."""
    values = ("100000000000000000000", "1e400", "NaN", '"\\ud800"', "[" * 90 + "]" * 90, "1" + "0" * 400)
    async with sandbox(*default_environments()) as saas:
        async with Proxy.running(
            online_options(saas, KEYS.values()) | QUICK, tmp_path / "log", fresh=True
        ) as proxy:
            before = pids(proxy)
            async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
                for number, value in enumerate(values):
                    target = f'{{"identifier":"t{number}","attributes":{{"id":{value}}}}}'
                    body = f'{{"apiKey":"{KEYS[DEV]}","target":{target}}}'
                    for _ in range(3):
                        answer = await client.http.post("/client/auth", content=body.encode())
                        assert answer.status_code == 200
                    for _ in range(3):
                        path = f"/client/env/{client.environment}/target/t{number}/evaluations"
                        evaluated = await client.http.get(path, headers=client.headers)
                        assert evaluated.status_code == 200
            assert pids(proxy) == before
