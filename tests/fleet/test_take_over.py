"""The member that talks to Harness is killed under load, and another takes over."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.fleet import TICK, fleet
from tests.support.load import Load, Mortal
from tests.support.redis_server import redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike
from tests.support.streams import StreamClient


async def told_of(stream: StreamClient, client: SdkLike, number: int) -> float:
    """When the stream has told of that value of the ticker's flag, and the member serves it."""
    while True:
        event = await stream.event()
        if event["identifier"] == TICK and int(await client.value(TICK)) >= number:
            return time.monotonic()


@pytest.mark.timeout(60)
async def test_a_dead_leader_is_replaced(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The next flip arrives at the others' streams, within a lease (6 s), the next try (1 s) and a fetch.

    How long it took is recorded and printed (``pytest -rP``), since it is the machine's to say.
    """
    with redis_server(tmp_path / "redis") as redis:
        async with fleet(tmp_path, f"127.0.0.1:{redis.port}") as running:
            leader = await running.leader()
            assert leader is not None
            members = {proxy: Mortal(proxy) for proxy in running.members}
            others = [member for proxy, member in members.items() if proxy is not leader]
            load = Load(list(members.values()), seed=1)
            async with load.running(), AsyncExitStack() as stack:
                waiting = []
                for other in others:
                    client = await stack.enter_async_context(SdkLike.connected(other.proxy.url, KEYS[DEV]))
                    stream = await stack.enter_async_context(client.stream())
                    number = running.ticker.number + 1
                    waiting.append(asyncio.create_task(told_of(stream, client, number)))
                await asyncio.sleep(0.5)
                await members[leader].die()
                killed = time.monotonic()
                running.ticker.tick()
                async with asyncio.timeout(30):
                    heard = await asyncio.gather(*waiting)
                took = max(heard) - killed
                record_property("seconds from kill -9 of the leader to the flip at all others", took)
                print(f"taken over after {took:.1f} s, {load.answers} answers")  # noqa: T201  (a measurement)
                await members[leader].rise()
                async with asyncio.timeout(20):
                    await load.seen_by_all(running.ticker.number)
            assert len(load.wrong) <= await running.late_checks(), load.wrong
