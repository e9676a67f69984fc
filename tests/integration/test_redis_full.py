"""A Redis that clients fill: what can wait is refused in time, what must go through goes through."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.store.protocol import PutItem, Registration
from ff_proxy.store.redis import RedisStore
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.redis_member import held, member, part
from tests.support.redis_server import RedisServer, redis_command, redis_server

MEGABYTE = 1024 * 1024
LIMIT = 12 * MEGABYTE
LONG = "x" * 60_000


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis with little memory."""
    with redis_server(tmp_path, ["--maxmemory", str(LIMIT), "--maxmemory-policy", "noeviction"]) as server:
        yield server


def large(number: int) -> UsageCount:
    """A count as large as one may be."""
    return UsageCount(UsageKey(ENVIRONMENT, "FFMETRICS", (("flag", f'"{number} {LONG}"'),)), 1, 1)


def used(server: RedisServer) -> int:
    """Bytes that Redis uses."""
    lines = redis_command(server.port, "INFO", "memory").decode().splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("used_memory:"))


async def everything(store: RedisStore) -> int:
    """Take and acknowledge all usage that waits; how many entries that were."""
    found = 0
    while (lease := await store.usage.take(ENVIRONMENT, 20)) is not None:
        found += len(lease.counts) + len(lease.targets)
        await store.usage.settle(lease)
    return found


async def test_what_clients_send_leaves_room_for_what_must_go_through(
    small: RedisServer, prefix: str
) -> None:
    """Usage, registrations and targets of attackers' size: flags change all the while."""
    async with member(small, prefix) as store:
        await store.configs.replace(config(flag("a")))
        dropped = 0
        for number in range(300):
            dropped += await store.usage.merge([large(number)], [])
            dropped += await store.usage.merge([], [UsageTarget(ENVIRONMENT, str(number), LONG, ())])
            target = Target(str(number), attributes={"about": LONG})
            dropped += not await store.registrations.add(Registration(ENVIRONMENT, target))
            await store.targets.put(ENVIRONMENT, target)
            assert await store.targets.get(ENVIRONMENT, str(number)) == target
        assert dropped > 600
        assert used(small) < 0.95 * LIMIT
        await store.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=2)))
        assert (await held(store)).flags["a"].version == 2
        assert await everything(store) > 0
        assert await store.usage.merge([large(1)], []) == 0


async def test_usage_is_bounded_by_its_own_share_as_well(small: RedisServer, prefix: str) -> None:
    """However much memory Redis has; what was there before bytes were counted is counted too."""
    shares = msgspec.structs.replace(LEAST_SHARES, usage_queue=MEGABYTE)
    async with member(small, prefix, shares=shares) as store:
        dropped = [await store.usage.merge([large(number)], []) for number in range(30)]
        assert sum(dropped) in range(12, 16)
        redis_command(small.port, "DEL", part(prefix, "usage:bytes"))
        assert await store.usage.merge([large(99)], []) == 1
        assert await everything(store) == 30 - sum(dropped)
        assert redis_command(small.port, "EXISTS", part(prefix, "usage:bytes")) == b":0\r\n"


async def test_a_redis_that_others_filled_still_takes_changes_and_gives_usage_out(
    small: RedisServer, prefix: str
) -> None:
    """Changes of flags, leases and what leaves go through; usage is refused until there is room."""
    async with member(small, prefix, "me") as store:
        assert await store.leases.acquire(ENVIRONMENT)
        await store.configs.replace(config(flag("a")))
        assert await store.usage.merge([large(number) for number in range(20)], []) == 0
        waiting = [Registration(ENVIRONMENT, Target(name)) for name in ("a", "b")]
        for one in waiting:
            assert await store.registrations.add(one)
        redis_command(small.port, "CONFIG", "SET", "maxmemory", str(used(small) - 10_000))
        with pytest.raises(StoreUnavailable, match="more maxmemory"):
            await store.usage.merge([large(99)], [])
        await store.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=2)))
        assert (await held(store)).flags["a"].version == 2
        assert await store.leases.acquire(ENVIRONMENT)
        await store.configs.set_status(ENVIRONMENT, UpstreamStatus(StreamState.CONNECTED, 7))
        assert (await store.configs.statuses())[ENVIRONMENT].state is StreamState.CONNECTED
        assert await store.registrations.take(ENVIRONMENT, 1) == [waiting[0]]
        assert await everything(store) == 20
        assert await store.usage.merge([large(99)], []) == 0
