"""``kill -9`` of members of a fleet, whoever they are, again and again under load."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from tests.support.fleet import Fleet, counted, fleet, late_checks
from tests.support.load import POSTED, Load, Mortal
from tests.support.redis_server import redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually

KILLS = 6
# What a member has taken and not yet handed on: half a second's worth, and the time that the handing takes.
LOST_SECONDS = 1.0


@pytest.mark.timeout(120)
async def test_kill_9_of_every_kind(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """No wrong answer, no lost target; of usage at most a second's worth of the dead, and nothing twice.

    A batch that was on its way to Harness with its sender waits in Redis for two minutes, and then counts
    again: it is counted here as waiting.
    """
    seed = random.SystemRandom().randrange(1_000_000)
    record_property("seed", seed)
    chance = random.Random(seed)
    with redis_server(tmp_path / "redis") as redis:
        async with fleet(tmp_path, f"127.0.0.1:{redis.port}") as running:
            members = [Mortal(proxy) for proxy in running.members]
            load = Load(members, seed)
            deaths: list[tuple[float, Mortal]] = []
            late = 0.0
            async with load.running():
                ticking = asyncio.create_task(_keep_ticking(running))
                for number in range(KILLS):
                    await asyncio.sleep(chance.uniform(0.1, 1.0))
                    leader = await running.leader() if number % 3 == 0 else None
                    victim = next(
                        (member for member in members if member.proxy is leader), chance.choice(members)
                    )
                    # What it has counted is gone with it.
                    late += await late_checks(victim.proxy)
                    deaths.append((time.monotonic(), victim))
                    await victim.die()
                    await asyncio.sleep(chance.uniform(0.0, 0.3))
                    await victim.rise()
                ticking.cancel()
                async with asyncio.timeout(30):
                    await load.seen_by_all(running.ticker.tick())
            assert len(load.wrong) <= late + await running.late_checks(), (seed, load.wrong)
            for proxy in running.members:
                async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                    for target in load.targets:
                        assert "EUR" in await client.value("price_display", target), (seed, target)
            least = len(load.posts) - sum(_at_risk(load, *death) for death in deaths)
            await eventually(lambda: _enough(running, redis.port, least), 20)
            assert counted(running.saas, POSTED) <= load.tried, seed


async def _keep_ticking(running: Fleet) -> None:
    while True:
        running.ticker.tick()
        await asyncio.sleep(0.1)


def _at_risk(load: Load, died: float, victim: Mortal) -> int:
    """How many posts the dead may have taken and not handed on."""
    return sum(member is victim and died - LOST_SECONDS < at <= died for at, member in load.posts)


def _on_their_way(port: int) -> int:
    """Counts in Redis that were taken for sending and never settled."""
    with Redis(port=port) as redis:
        batches = [redis.hgetall(key) for key in redis.scan_iter("*:usage:lease:*")]
    return sum(
        int(entry.split(b"|")[0])
        for batch in batches
        for field, entry in batch.items()
        if field.startswith(b"c") and POSTED.encode() in field
    )


async def _enough(running: Fleet, port: int, least: int) -> bool:
    return counted(running.saas, POSTED) + _on_their_way(port) >= least
