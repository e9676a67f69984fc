"""A Redis with an older state, a leader that slept, a node that is gone: the past does not come back."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.crc import key_slot

from ff_proxy.model.environment import Domain
from ff_proxy.sandbox.seed.build import flag, serve
from tests.integration.harness import Proxy, online_options
from tests.support.fleet import QUICK, TICK, WAYS, Fleet, Witness, fleet, late_checks
from tests.support.load import used
from tests.support.redis_server import redis_cluster, redis_command, redis_server
from tests.support.sdk_like import DEV, KEYS, PROD, SdkLike, eventually

GONE = "gone"
# Members put back within 5 seconds what Redis has lost (docs/storage.md), and this machine is busy.
PUT_BACK_SECONDS = 5.0 + 15.0


def other_than(running: Fleet, one: Proxy) -> list[Proxy]:
    """All members but one."""
    return [proxy for proxy in running.members if proxy is not one]


async def leader_of(running: Fleet) -> Proxy:
    """Who leads, once somebody does."""
    found: list[Proxy] = []

    async def known() -> bool:
        leader = await running.leader()
        found.extend([] if leader is None else [leader])
        return leader is not None

    await eventually(known)
    return found[0]


def add_flag(running: Fleet) -> None:
    """A flag that is deleted later."""
    info = running.saas.state.find(DEV).info
    document = flag(info, GONE, "string", {"a": "a"}, off="a", default=serve("a"))
    running.saas.state.put(DEV, Domain.FLAG, document)


def late_member(redis: str, place: Path) -> Proxy:
    """A replica, which knows nothing but what Redis says."""
    options = {"read-replica": "true", "shutdown-delay": "0", "redis-address": redis}
    return Proxy(options, place / "late.log")


async def in_step(proxies: Sequence[Proxy], number: int) -> None:
    """All serve that value of the ticker's flag in one version, however it is asked for, and not GONE."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV])) for proxy in proxies
        ]
        for client in clients:

            async def newest(client: SdkLike = client) -> bool:
                told = {await read(client) for read in WAYS.values()}
                return told == {number} and (await client.get(f"/feature-configs/{GONE}")).status_code == 404

            await eventually(newest, PUT_BACK_SECONDS)
        versions = [(await client.get(f"/feature-configs/{TICK}")).json()["version"] for client in clients]
        assert len(set(versions)) == 1, versions


async def nobody_goes_back(running: Fleet, proxies: Sequence[Proxy]) -> None:
    """What one member has told, every other knows: some more changes are heard everywhere."""
    witness = Witness()
    before = await late_checks(*proxies)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV])) for proxy in proxies
        ]
        for _ in range(5):
            number = running.ticker.tick()
            async with asyncio.timeout(20):
                while witness.newest < number:
                    for client in clients:
                        await witness.read(client, "by id")
    late = await late_checks(*proxies) - before
    assert len(witness.wrong) <= late, witness.wrong
    await in_step(proxies, running.ticker.number)


@pytest.mark.timeout(120)
async def test_a_dump_from_before_a_change_of_leaders(tmp_path: Path) -> None:
    """No member tells anything older, deleted flags stay deleted, and who starts then is told the newest."""
    with redis_server(tmp_path / "redis") as redis:
        address = f"127.0.0.1:{redis.port}"
        async with fleet(tmp_path, address) as running, asyncio.timeout(100):
            add_flag(running)
            leader = await leader_of(running)
            stay = other_than(running, leader)
            async with used(stay, seed=8, shared=False) as (load, listeners):
                await listeners.until_heard(running.ticker.tick())
                await asyncio.to_thread(redis_command, redis.port, "SAVE")
                await leader.stop()
                for _ in range(3):
                    await listeners.until_heard(running.ticker.tick())
                running.saas.state.drop(DEV, Domain.FLAG, GONE)
                await leader.start()
                await listeners.until_heard(running.ticker.tick())
                await in_step(running.members, running.ticker.number)
                told = load.answers
                redis.stop()
                await asyncio.to_thread(redis.start)  # with what it had saved
                late = late_member(address, tmp_path)
                try:
                    await late.start()
                    everybody = [*running.members, late]
                    await in_step(everybody, running.ticker.number)
                    await nobody_goes_back(running, everybody)
                    await late.stop()
                finally:
                    await late.kill()
                await listeners.until_heard(running.ticker.tick())
                assert load.answers > told
            assert load.wrong == []


@pytest.mark.timeout(120)
async def test_a_leader_that_slept_writes_nothing_of_the_past(tmp_path: Path) -> None:
    """Over a flush, and over a change of leaders alone; in two fleets at the same time."""
    async with asyncio.TaskGroup() as group:
        for flushed in (True, False):
            place = tmp_path / ("flushed" if flushed else "changed-hands")
            place.mkdir()
            group.create_task(_sleeps(place, flushed=flushed))


async def _sleeps(place: Path, *, flushed: bool) -> None:
    with redis_server(place / "redis") as redis:
        address = f"127.0.0.1:{redis.port}"
        async with fleet(place, address) as running, asyncio.timeout(100):
            add_flag(running)
            leader = await leader_of(running)
            awake = other_than(running, leader)
            async with used(awake, seed=9, shared=False) as (load, listeners):
                await listeners.until_heard(running.ticker.tick())
                os.kill(leader.pid, signal.SIGSTOP)
                try:
                    if flushed:
                        await asyncio.to_thread(redis_command, redis.port, "FLUSHALL")
                    # It has been told of these changes, and writes them once it wakes, if it may.
                    await listeners.until_heard(running.ticker.tick())
                    running.saas.state.drop(DEV, Domain.FLAG, GONE)
                    await listeners.until_heard(running.ticker.tick())
                finally:
                    os.kill(leader.pid, signal.SIGCONT)
                await in_step(running.members, running.ticker.number)
                await nobody_goes_back(running, running.members)
                late = late_member(address, place)
                try:
                    await late.start()
                    await in_step([late], running.ticker.number)
                    await late.stop()
                finally:
                    await late.kill()
                await eventually(lambda: _one_stream_each(running))
            assert load.wrong == []


async def _one_stream_each(running: Fleet) -> bool:
    return running.saas.streams.count() == len(KEYS)


@pytest.mark.timeout(120)
async def test_a_node_that_dies_concerns_its_environments_only(tmp_path: Path) -> None:
    """Changes of the others arrive everywhere, nobody is refused, and members start meanwhile."""
    with redis_cluster(tmp_path / "redis") as nodes:
        address = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        share = 16384 // len(nodes)
        lost = nodes[min(key_slot(PROD.encode()) // share, len(nodes) - 1)]
        assert lost is not nodes[min(key_slot(DEV.encode()) // share, len(nodes) - 1)]
        async with fleet(tmp_path, address) as running, asyncio.timeout(100):
            async with used(running.members, seed=10, shared=False) as (load, listeners):
                await listeners.until_heard(running.ticker.tick())
                lost.stop()
                for _ in range(3):
                    await listeners.until_heard(running.ticker.tick())
                for proxy in running.members:
                    await eventually(lambda proxy=proxy: _degraded_for(proxy, PROD))
                    async with SdkLike.connected(proxy.url, KEYS[PROD]) as client:
                        assert (await client.get("/feature-configs")).status_code == 200
                options = online_options(running.saas, KEYS.values()) | QUICK | {"redis-address": address}
                late = Proxy(options, tmp_path / "late.log")
                try:
                    await late.start()
                    await in_step([*running.members, late], running.ticker.tick())
                    async with SdkLike.connected(late.url, KEYS[PROD]) as client:
                        assert (await client.get("/feature-configs")).status_code == 200
                    await late.stop()
                finally:
                    await late.kill()
                await listeners.until_heard(running.ticker.tick())
            assert load.wrong == []


async def _degraded_for(proxy: Proxy, environment: str) -> bool:
    async with SdkLike(proxy.url, "none").http as http:
        answer = await http.get("/health/ready")
    assert answer.status_code == 200
    reasons = str(answer.json()["reasons"])
    assert DEV not in reasons, reasons
    return environment in reasons
