"""Queues in Redis whose keys somebody else writes, evicts or forbids: later entries arrive, and each once."""

import re
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.store.protocol import Registration
from ff_proxy.store.redis import RedisStore
from ff_proxy.store.redis.queue_scripts import MERGE_USAGE, SETTLE_USAGE, TAKE_USAGE
from tests.support.configs import ENVIRONMENT
from tests.support.redis_member import counted, make_leases_return, member, part
from tests.support.redis_server import RedisServer, redis_command


@contextmanager
def of_another_kind(server: RedisServer, key: str) -> Iterator[None]:
    """Meanwhile another program has the key; afterwards there is what was there before."""
    there = redis_command(server.port, "EXISTS", key) == b":1\r\n"
    if there:
        redis_command(server.port, "RENAME", key, f"{key}:away")
    redis_command(server.port, "LPUSH", key, "of another program")
    yield
    redis_command(server.port, "DEL", key)
    if there:
        redis_command(server.port, "RENAME", f"{key}:away", key)


@pytest.mark.parametrize("kind", ["counts", "targets", "leases", "bytes"])
async def test_a_key_of_another_kind_loses_nothing_that_comes_back(
    server: RedisServer, prefix: str, kind: str
) -> None:
    """While it is there, nothing is settled in part; when it is gone, everything is."""
    described = [UsageTarget(ENVIRONMENT, "ana", "Ana", ())]
    async with member(server, prefix) as store:
        await store.usage.merge([counted(3)], described)
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        await store.usage.merge([counted(1)], [])
        with of_another_kind(server, part(prefix, f"usage:{kind}")):
            with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
                await store.usage.settle(lease, lease.counts, lease.targets)
        await store.usage.settle(lease, lease.counts, lease.targets)
        again = await store.usage.take(ENVIRONMENT, 10)
        assert again is not None
        assert (again.counts, again.targets) == ((counted(4),), tuple(described))


async def test_a_lease_of_another_kind_holds_nothing_up(server: RedisServer, prefix: str) -> None:
    """Its sender knows what was in it, and what is in the others comes back."""
    async with member(server, prefix) as store:
        await store.usage.merge([counted(3)], [])
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        with of_another_kind(server, part(prefix, f"usage:lease:{lease.id}")):
            await store.usage.merge([counted(1)], [])
            assert await store.usage.pending() == {ENVIRONMENT: 1}
            await store.usage.settle(lease, lease.counts)
        with of_another_kind(server, part(prefix, "usage:lease:ghost")):
            redis_command(server.port, "ZADD", part(prefix, "usage:leases"), "1", "ghost")
            again = await store.usage.take(ENVIRONMENT, 10)
        assert again is not None
        assert again.counts == (counted(4),)
        await store.usage.settle(again)
        assert await store.usage.pending() == {}


_COMMANDS = {
    command.lower()
    for script in (MERGE_USAGE, TAKE_USAGE, SETTLE_USAGE)
    for command in re.findall(r"redis\.p?call\('([A-Z]+)'", script.source)
}


@contextmanager
def forbidden(server: RedisServer, command: str) -> Iterator[None]:
    """Meanwhile nobody may use the command."""
    redis_command(server.port, "ACL", "SETUSER", "default", f"-{command}")
    try:
        yield
    finally:
        redis_command(server.port, "ACL", "SETUSER", "default", f"+{command}")


@pytest.mark.parametrize("command", sorted(_COMMANDS))
async def test_a_command_that_is_forbidden_neither_loses_nor_doubles_usage(
    server: RedisServer, prefix: str, command: str
) -> None:
    """Whatever the scripts have done until then: the caller does it again, and each count is there once."""
    described = [UsageTarget(ENVIRONMENT, "ana", "Ana", ())]
    async with member(server, prefix) as store:
        await store.usage.merge([counted(1)], described)
        held = await store.usage.take(ENVIRONMENT, 10)
        assert held is not None
        died = await _returned(store, server, prefix)
        with forbidden(server, command):
            merged = await _done(store.usage.merge([counted(4)], described, name="again"))
            settled = await _done(store.usage.settle(held, held.counts, held.targets))
            for _ in range(3):
                await _done(store.usage.take(ENVIRONMENT, 10))
        if not merged:
            assert await store.usage.merge([counted(4)], described, name="again") == 0
        if not settled:
            await store.usage.settle(held, held.counts, held.targets)
        make_leases_return(server, prefix)
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert (lease.counts, lease.targets) == ((counted(1 + died + 4),), tuple(described))


async def _returned(store: RedisStore, server: RedisServer, prefix: str) -> int:
    """Add a batch whose sender died, and which is due; returns its count."""
    await store.usage.merge([counted(2)], [])
    lease = await store.usage.take(ENVIRONMENT, 10)
    assert lease is not None
    redis_command(server.port, "ZADD", part(prefix, "usage:leases"), "1", lease.id)
    return 2


async def _done(call: Coroutine[Any, Any, Any]) -> bool:
    try:
        await call
    except StoreUnavailable:
        return False
    return True


@pytest.mark.parametrize("size", ["nan", "-nan", "inf", "-inf", "1e300", "-5", "9007199254740991", "full"])
async def test_a_size_that_is_wrong_takes_no_room(server: RedisServer, prefix: str, size: str) -> None:
    """Another program wrote it, or it outlived the entries: Redis evicted them."""
    async with member(server, prefix) as store:
        assert await store.usage.merge([counted(3)], []) == 0
        redis_command(server.port, "SET", part(prefix, "usage:bytes"), size)
        if size in {"full", "9007199254740991"}:
            redis_command(server.port, "DEL", part(prefix, "usage:counts"))
        other = UsageCount(UsageKey(ENVIRONMENT, "FFMETRICS", (("featureIdentifier", '"b"'),)), 2, 1)
        assert await store.usage.merge([other], []) == 0
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert other in lease.counts


@pytest.mark.parametrize("seed", range(12))
async def test_registrations_go_on_whatever_another_program_does(
    server: RedisServer, prefix: str, seed: int
) -> None:
    """Redis evicts a key, a person deletes a row, or something else is written: what comes later arrives."""
    random = Random(seed)
    async with member(server, prefix, "leader") as store:
        assert await store.leases.acquire(ENVIRONMENT)
        queue, keys = store.registrations, store.registrations._keys.registrations(ENVIRONMENT)
        for _ in range(60):
            name = f"target-{random.randrange(8)}"
            match random.randrange(6):
                case 0 | 1:
                    described = Target(name, name, {"number": random.randrange(3)})
                    await queue.add(Registration(ENVIRONMENT, described))
                case 2:
                    for taken in await queue.take(ENVIRONMENT, random.randrange(1, 4)):
                        if random.randrange(3):
                            await queue.complete(taken, delivered=random.random() < 0.5)
                case 3:
                    redis_command(server.port, "DEL", random.choice(keys))
                case 4:
                    number = random.randrange(4)
                    redis_command(server.port, "HDEL" if number else "ZREM", keys[number], name)
                case _:
                    _write_garbage(server, keys, name, random)
        assert await queue.add(Registration(ENVIRONMENT, Target("last", "last", {"seed": seed})))
        found = set()
        for _ in range(20):
            for taken in await queue.take(ENVIRONMENT, 5):
                found.add(taken.target.identifier)
                await queue.complete(taken, delivered=True)
        assert "last" in found


def _write_garbage(server: RedisServer, keys: Sequence[str], name: str, random: Random) -> None:
    number = random.randrange(4)
    garbage = ["", "x", "ab|5|x", "ab|99999999999999999999|x", "|||", "ab|nan|{}", "a" * 64]
    row = (
        [random.choice(["0", "inf", "-inf", "1e300"]), name]
        if number == 0
        else [name, random.choice(garbage)]
    )
    redis_command(server.port, "HSET" if number else "ZADD", keys[number], *row)


@pytest.mark.parametrize("number", range(4))
async def test_a_key_of_another_kind_loses_no_registration(
    server: RedisServer, prefix: str, number: int
) -> None:
    """Neither one that comes meanwhile, nor one that is taken or returned."""
    names = "abc"
    one, two, three = (Registration(ENVIRONMENT, Target(name)) for name in names)
    async with member(server, prefix, "leader") as store:
        assert await store.leases.acquire(ENVIRONMENT)
        key = store.registrations._keys.registrations(ENVIRONMENT)[number]
        await store.registrations.add(one)
        assert list(await store.registrations.take(ENVIRONMENT, 1)) == [one]
        await store.registrations.add(two)
        with of_another_kind(server, key):
            with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
                await store.registrations.add(three)
            with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
                await store.registrations.complete(one, delivered=False)
        await store.registrations.add(three)
        await store.registrations.complete(one, delivered=False)
        assert sorted(
            left.target.identifier for left in await store.registrations.take(ENVIRONMENT, 5)
        ) == list(names)


@pytest.mark.parametrize("kind", ["counts", "targets", "leases", "bytes", "merged"])
async def test_a_key_of_another_kind_loses_no_usage(server: RedisServer, prefix: str, kind: str) -> None:
    """While it is there, nothing is taken or merged in part; when it is gone, everything is there once."""
    entries = [counted(3)]
    described = [UsageTarget(ENVIRONMENT, "ana", "Ana", ())]
    key = part(prefix, f"usage:{kind}")
    async with member(server, prefix) as store:
        await store.usage.merge([counted(1)], [])
        with of_another_kind(server, key):
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
                    await store.usage.merge(entries, described, name="again")
            if kind != "merged":
                with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
                    await store.usage.take(ENVIRONMENT, 10)
        assert await store.usage.merge(entries, described, name="again") == 0
        assert await store.usage.merge(entries, described, name="again") == 0
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert (lease.counts, lease.targets) == ((counted(4),), tuple(described))
