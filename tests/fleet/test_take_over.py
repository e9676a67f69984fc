"""The member that talks to Harness is killed under load, and another takes over."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.fleet import TICK, Fleet, fleet
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


async def taken_over(running: Fleet, going: Mortal, how: Callable[[], Awaitable[None]]) -> float:
    """Seconds from when one has gone until the others' streams have told of the next change."""
    async with AsyncExitStack() as stack:
        waiting = []
        for proxy in running.members:
            if proxy is not going.proxy:
                client = await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
                stream = await stack.enter_async_context(client.stream())
                waiting.append(asyncio.create_task(told_of(stream, client, running.ticker.number + 1)))
        await asyncio.sleep(0.5)
        await how()
        gone = time.monotonic()
        running.ticker.tick()
        async with asyncio.timeout(30):
            return max(await asyncio.gather(*waiting)) - gone


@pytest.mark.timeout(90)
async def test_a_leader_is_replaced(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Killed: when its lease has run out. Ended in order: at once. Nobody is told anything old meanwhile.

    How long it took is recorded and printed (``pytest -rP``), since it is the machine's to say.
    """
    with redis_server(tmp_path / "redis") as redis:
        async with fleet(tmp_path, f"127.0.0.1:{redis.port}") as running:
            members = {proxy: Mortal(proxy) for proxy in running.members}
            load = Load(list(members.values()), seed=1)
            async with load.running():
                for kind in ("kill -9", "SIGTERM"):
                    leader = await running.leader()
                    assert leader is not None
                    going = members[leader]
                    took = await taken_over(running, going, going.die if kind == "kill -9" else going.leave)
                    record_property(f"seconds from {kind} to the change at all others", took)
                    print(f"taken over {took:.1f} s after {kind}")  # noqa: T201  (a measurement)
                    await going.rise()
                    async with asyncio.timeout(20):
                        await load.seen_by_all(running.ticker.number)
            assert len(load.wrong) <= await running.late_checks(), load.wrong
