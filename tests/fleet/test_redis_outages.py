"""Redis silent, dead, emptied: nobody is refused, no stream ends, and all that was missed is made up for."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, counted, fleet, posted
from tests.support.load import POSTED, used
from tests.support.redis_server import RedisServer, redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually

# A lease lasts 6 seconds: after a silence that is longer, everything a lease stands for has to begin anew.
SILENCE = 6.5
# A subscription ends with its Redis and is tried again every second; the keeper looks every 2 seconds.
OUTAGE = 2.5


async def silent(redis: RedisServer) -> None:
    """Stopped with SIGSTOP: it holds its connections and says nothing; then it goes on as it was."""
    redis.pause(on=True)
    await asyncio.sleep(SILENCE)
    redis.pause(on=False)


async def dead(redis: RedisServer) -> None:
    """Killed, and started anew with nothing in it."""
    redis.stop()
    await asyncio.sleep(OUTAGE)
    redis.start()


@pytest.mark.timeout(90)
async def test_nobody_notices(tmp_path: Path) -> None:
    """Reads, targets known and new, streams, usage: all go on, and a flip made meanwhile arrives.

    The outages are as short as the paths that they have to go through allow: 6.5 seconds of silence, after
    which leases have run out; 2.5 seconds without a Redis, after which everything has been tried again. A
    minute takes no other path. Each happens to a fleet of its own, at the same time.
    """
    async with asyncio.TaskGroup() as group:
        for outage in (silent, dead):
            place = tmp_path / outage.__name__
            place.mkdir()
            group.create_task(_survives(outage, place))


async def _survives(outage: Callable[[RedisServer], Awaitable[None]], place: Path) -> None:
    with redis_server(place / "redis") as redis:
        async with fleet(place, f"127.0.0.1:{redis.port}") as running:
            async with used(running.members, seed=2, shared=False) as (load, listeners):
                await listeners.until_heard(running.ticker.tick())
                told = load.answers
                running.ticker.tick()
                await outage(redis)
                assert load.answers > told + 5, "they were answered meanwhile"
                async with asyncio.timeout(30):
                    await listeners.until_heard(running.ticker.tick())
                targets = list(load.targets)
            assert load.wrong == []
            # An emptied Redis is noticed within two seconds, and told what only members knew.
            await eventually(lambda: _known_everywhere(running, targets))
            sent = len(load.posts)
            await eventually(lambda: posted(running.saas, POSTED, sent), 20)
            assert counted(running.saas, POSTED) == sent
    for proxy in running.members:
        said = proxy.log.read_text()
        for event in ("store unavailable, serving what is loaded", "lease not renewed", "lease not taken"):
            assert said.count(event) <= 1, event


async def _known_everywhere(running: Fleet, targets: Sequence[str]) -> bool:
    for proxy in running.members:
        async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
            for target in targets[:: max(1, len(targets) // 20)]:
                if "EUR" not in await client.value("price_display", target):
                    return False
    return True
