"""Members that do not hear what happens, for a while or from the beginning: nothing is lost to their SDKs."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.fleet import QUICK, TICK, Fleet, Ticker, fleet, late_checks, leads
from tests.support.load import used
from tests.support.redis_server import redis_server
from tests.support.relay import Relay
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually


async def degraded(proxy: Proxy) -> None:
    """Wait until the member says that Redis is away, which costs it no request."""
    async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:

        async def told() -> bool:
            answer = await client.http.get("/health/ready")
            assert answer.status_code == 200
            return "store is not reachable" in str(answer.json()["reasons"])

        await eventually(told)


async def joins_late(running: Fleet, redis: int, place: Path, token: str) -> None:
    """An SDK comes with the token it got elsewhere, before the flip, to a member that starts after it."""
    options = {"read-replica": "true", "shutdown-delay": "0", "redis-address": f"127.0.0.1:{redis}"}
    async with (
        Proxy.running(options, place / "late.log") as late,
        SdkLike.connected(late.url, KEYS[DEV]) as client,
    ):
        client.token = token
        async with client.stream() as stream, asyncio.timeout(10):
            while (await stream.event())["identifier"] != TICK:
                pass
        assert await client.value(TICK) == str(running.ticker.number)


@pytest.mark.timeout(90)
async def test_cut_off_members_lose_nothing(tmp_path: Path) -> None:
    """From Redis, and from Harness; in two fleets at the same time."""
    async with asyncio.TaskGroup() as group:
        for scene in (from_redis, from_harness):
            place = tmp_path / scene.__name__
            place.mkdir()
            group.create_task(scene(place))


async def from_redis(place: Path) -> None:
    """The one that leads, one that follows, one that hears no notices, and one that was not there yet."""
    with redis_server(place / "redis") as redis:
        async with Relay.to(redis.port) as left, Relay.to(redis.port) as right:
            wires = {
                name: {"redis-address": f"127.0.0.1:{relay.port}"}
                for name, relay in (("one", left), ("two", right))
            }
            async with fleet(place, f"127.0.0.1:{redis.port}", **wires) as running:
                leader = await running.leader()
                wire, others = (
                    (left, [running.two, running.replica])
                    if leader is running.one
                    else (right, [running.one, running.replica])
                )
                assert leader is not None
                async with (
                    used(running.members, seed=3, shared=False) as (load, listeners),
                    SdkLike.connected(running.replica.url, KEYS[DEV]) as early,
                    asyncio.timeout(60),
                ):
                    # Who leads is cut off: another follows Harness instead, and what it hears arrives.
                    await wire.cut()
                    await listeners.until_heard(running.ticker.tick(), *others)
                    await degraded(leader)
                    await wire.mend()
                    await listeners.until_heard(running.ticker.number)
                    # Who follows is cut off: it serves what it has, and makes up for it.
                    assert await running.leader() is not leader
                    await wire.cut()
                    await listeners.until_heard(running.ticker.tick(), *others)
                    await wire.mend()
                    await listeners.until_heard(running.ticker.number)
                    # Notices get lost: revisions are compared all the same.
                    wire.deafen()
                    await listeners.until_heard(running.ticker.tick())
                    await joins_late(running, redis.port, place, early.token)
                assert load.wrong == []


async def from_harness(place: Path) -> None:
    """Who leads cannot reach Harness, another can: it is let try, after a quarter of a poll's interval."""
    with redis_server(place / "redis") as redis:
        async with sandbox(*default_environments()) as saas:
            ticker = Ticker(saas)
            port = urlsplit(saas.url).port
            assert port is not None
            async with Relay.to(port) as left, Relay.to(port) as right, AsyncExitStack() as stack:
                shared = {"redis-address": f"127.0.0.1:{redis.port}"} | QUICK
                wires = {}
                for relay in (left, right):
                    options = {
                        name: text.replace(f":{port}/", f":{relay.port}/")
                        for name, text in online_options(saas, [KEYS[DEV]]).items()
                    }
                    proxy = Proxy(options | shared, place / f"{relay.port}.log")
                    wires[proxy] = relay
                    stack.push_async_callback(proxy.kill)
                    await proxy.start()
                one, two = wires
                async with used([one, two], seed=7, shared=True) as (load, listeners), asyncio.timeout(60):
                    await listeners.until_heard(ticker.tick())
                    leading = [await leads(proxy) for proxy in wires]
                    assert sorted(leading) == [False, True]
                    leader = one if leading[0] else two
                    await wires[leader].cut()
                    await listeners.until_heard(ticker.tick())
                    assert not await leads(leader)
                    await listeners.until_heard(ticker.tick())
                assert len(load.wrong) <= await late_checks(*wires), load.wrong
                for proxy in wires:
                    await proxy.stop()
