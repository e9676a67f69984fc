"""``kill -9`` of any of several processes, at any moment, under load: no wrong answer, nobody forgotten."""

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx2
import pytest

from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.fleet import TICK, WAYS, Ticker, metrics
from tests.support.load import POSTED, Load, Mortal
from tests.support.redis_server import redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually
from tests.support.workers import SYNC, alive, kill, pids

WORKERS: Final = ("worker-1", "worker-2", "worker-3")
USERS: Final = 4
LISTENERS: Final = 3
QUICK: Final = {"workers": str(len(WORKERS)), "shutdown-delay": "0", "metric-post-duration": "1"}
# What a process holds that it has not handed over (spec/behaviour#goals: lost on kill -9).
WINDOW: Final = 1.0
# What is on its way to SaaS when the sync process dies: a round of posts, and what came since.
AGAIN: Final = 3.0


@asynccontextmanager
async def used(ticker: Ticker, proxy: Proxy, seed: int) -> AsyncIterator[tuple[Load, list[str]]]:
    """People who read, describe targets, post and listen, while a flag changes several times a second.

    The list gets what whoever was told of a change was then given instead.
    """
    older: list[str] = []
    load = Load([Mortal(proxy)] * USERS, seed, keep_alive=False)
    others = [asyncio.create_task(_tick(ticker))]
    others += [asyncio.create_task(_listen(proxy, older)) for _ in range(LISTENERS)]
    try:
        async with load.running():
            yield load, older
    finally:
        for task in others:
            task.cancel()
        ended = await asyncio.gather(*others, return_exceptions=True)
    assert [error for error in ended if not isinstance(error, asyncio.CancelledError)] == []


async def _tick(ticker: Ticker) -> None:
    while True:
        ticker.tick()
        await asyncio.sleep(0.15)


async def _listen(proxy: Proxy, older: list[str]) -> None:
    """Open a stream again and again; what an event tells of is there, whoever is asked."""
    while True:
        with suppress(httpx2.TransportError, OSError, asyncio.IncompleteReadError):
            async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
                async with client.stream() as stream:
                    while (event := await stream.event())["identifier"]:
                        if event["identifier"] == TICK:
                            held = (await client.get(f"/feature-configs/{TICK}")).json()
                            if held["version"] < event["version"]:
                                older.append(f"{held['version']} after {event['version']}")
        await asyncio.sleep(0.02)


def counted(saas: RunningSandbox) -> int:
    """How many of the load's posts have arrived."""
    return sum(entry.count for entry in saas.usage.sums() if entry.flag == POSTED)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("seed", "on_redis"), [(1, False), (2, True)])
async def test_nobody_is_told_anything_wrong(tmp_path: Path, seed: int, on_redis: bool) -> None:
    """Workers and the sync process, each twice, in any order; all of them are there again afterwards."""
    chance = random.Random(seed)
    victims = [*WORKERS, SYNC] * 2
    chance.shuffle(victims)
    kills: list[tuple[float, str]] = []
    async with AsyncExitStack() as stack:
        saas = await stack.enter_async_context(sandbox(*default_environments()))
        ticker = Ticker(saas)
        options = online_options(saas, KEYS.values()) | QUICK
        if on_redis:
            redis = stack.enter_context(redis_server(tmp_path / "redis"))
            options["redis-address"] = f"127.0.0.1:{redis.port}"
        async with Proxy.running(options, tmp_path / "log") as proxy:
            async with used(ticker, proxy, seed) as (load, older):
                for victim in victims:
                    await asyncio.sleep(chance.uniform(0.2, 1.0))
                    kills.append((time.monotonic(), victim))
                    await kill(proxy, victim)
                await asyncio.sleep(1)
            # Where Redis had no time to answer, what is held was served (spec/behaviour#read-your-writes).
            late = on_redis and "revision_checks_late_total{" in await metrics(proxy)
            assert late or load.wrong + older == []
            last = ticker.tick()
            async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
                async with asyncio.timeout(30):
                    for way in WAYS.values():
                        while await way(client) < last:  # noqa: ASYNC110  (another process tells nobody)
                            await asyncio.sleep(0.02)

                async def well() -> bool:
                    answers = [await client.http.get("/health/ready") for _ in range(10)]
                    assert {answer.status_code for answer in answers} == {200}
                    return {answer.json()["status"] for answer in answers} == {"ready"}

                await eventually(well)
                for target in load.targets[-50:]:
                    assert "EUR" in await client.value("price_display", target)
            assert all(alive(pid) for pid in pids(proxy).values())
    # What a worker had not handed over is lost; what the sync process had not acknowledged is sent again.
    lost = [at for at, _ in load.posts if any(who != SYNC and 0 <= when - at < WINDOW for when, who in kills)]
    twice = [at for at, _ in load.posts if any(who == SYNC and 0 <= when - at < AGAIN for when, who in kills)]
    assert len(load.posts) - len(lost) <= counted(saas) <= load.tried + len(twice)


@pytest.mark.timeout(60)
async def test_without_a_supervisor_everybody_goes_down_in_order(tmp_path: Path) -> None:
    """Its death is a shutdown: usage is delivered, nobody is left, nothing stays behind, the port is free."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | QUICK | {"metric-post-duration": "60"}
        Ticker(saas)  # what is read
        proxy = Proxy(options | {"shutdown-delay": "1", "shutdown-deadline": "5"}, tmp_path / "log")
        await proxy.start()
        children = pids(proxy)
        made = _runtime_directory(children[SYNC])
        user = Mortal(proxy)
        load = Load([user] * USERS, seed=3, keep_alive=False)
        async with load.running():
            await asyncio.sleep(1)
            async with SdkLike.connected(proxy.url, KEYS[DEV]) as client, client.stream() as stream:
                # From now on connections may be refused, and nothing else.
                await user.die()
                while await stream.record() != b"":
                    pass

        async def gone() -> bool:
            return not any(alive(pid) for pid in children.values())

        await eventually(gone, 8)
        assert load.wrong == []
        assert len(load.posts) <= counted(saas) <= load.tried
        assert not made.exists()
        socket.create_server(("", proxy.port)).close()
        await proxy.start()
        await proxy.stop()


def _runtime_directory(pid: int) -> Path:
    """Where the process holds its temporary store."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found = file.readlink()
            if found.suffix == ".sqlite":
                return found.parent
    raise AssertionError("no store is open")


@pytest.mark.timeout(60)
async def test_a_sync_process_that_is_away_is_not_missed(tmp_path: Path) -> None:
    """Stopped in its tracks: what is loaded is served, by workers that say so and lose nothing."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | QUICK
        async with Proxy.running(options, tmp_path / "log") as proxy:
            async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
                for _ in range(3):
                    before = pids(proxy)[SYNC]
                    await kill(proxy, SYNC)
                    assert before != pids(proxy)[SYNC]
                os.kill(pids(proxy)[SYNC], signal.SIGKILL)  # not again for some seconds

                async def degraded() -> bool:
                    answer = await client.http.get("/health/ready")
                    assert answer.status_code == 200
                    return "sync process is not reachable" in answer.text

                seen = False
                for _ in range(20):
                    seen = seen or await degraded()
                    assert (await client.get("/feature-configs")).status_code == 200
                    assert (await client.http.get("/health/live")).status_code == 200
                    assert (await client.post_usage(POSTED, 1)).status_code == 200
                if not seen:
                    await eventually(degraded)
                await client.authenticate({"identifier": "zed", "attributes": {"country": "DE"}})

                async def well() -> bool:
                    return bool((await client.http.get("/health/ready")).json()["status"] == "ready")

                await eventually(well, 20)
                assert "EUR" in await client.value("price_display", "zed")

                async def arrived() -> bool:
                    return counted(saas) == 20

                await eventually(arrived)
