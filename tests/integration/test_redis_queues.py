"""What flows up and what SDKs say of themselves, through a Redis that loses answers and members that die."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ff_proxy.errors import StoreUnavailable, UpstreamError, UpstreamUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey
from ff_proxy.store.protocol import Registration
from ff_proxy.store.redis.queue_scripts import MERGE_USAGE, TAKE_USAGE
from ff_proxy.telemetry import null_telemetry
from ff_proxy.usage.forwarder import UsageForwarder
from ff_proxy.usage.intake import UsageIntake
from ff_proxy.wire.usage import SdkLabels, UsageReport
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT
from tests.support.redis_member import counted, make_leases_return, member, part
from tests.support.redis_server import RedisServer, redis_command, redis_server
from tests.support.usage_forwarder import Saas, usage


async def test_a_merge_that_nobody_answered_counts_once(server: RedisServer, prefix: str) -> None:
    """And a batch that was taken unheard is given again, whole."""
    async with member(server, prefix) as store:
        run = store.usage._connection.run
        unheard: Callable[..., Coroutine[Any, Any, Any]] = _once_unheard(run)
        store.usage._connection.run = unheard  # type: ignore[method-assign]  # what the network does
        assert await store.usage.merge([counted(3)], []) == 0
        store.usage._connection.run = _once_unheard(run)  # type: ignore[method-assign]  # likewise
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert lease.counts == (counted(3),)
        await store.usage.settle(lease)
        assert await store.usage.pending() == {}


def _once_unheard(run: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    calls = 0

    async def unheard(*arguments: Any) -> Any:
        nonlocal calls
        calls += arguments[0] in {MERGE_USAGE, TAKE_USAGE}
        answer = await run(*arguments)
        if calls == 1 and arguments[0] in {MERGE_USAGE, TAKE_USAGE}:
            raise StoreUnavailable("the answer was lost")
        return answer

    return unheard


async def test_a_batch_whose_sender_died_comes_back(server: RedisServer, prefix: str) -> None:
    """Not before its time; then whoever leads has it, and the dead one's word does not count any more."""
    async with member(server, prefix, "dead") as dead, member(server, prefix, "next") as heir:
        await dead.usage.merge([counted(3)], [])
        lease = await dead.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert await heir.usage.take(ENVIRONMENT, 10) is None, "under lease"
        assert await heir.usage.pending() == {ENVIRONMENT: 1}
        await heir.usage.merge([counted(1)], [])
        due = redis_command(server.port, "ZSCORE", part(prefix, "usage:leases"), lease.id)
        now = redis_command(server.port, "TIME")
        assert 100 < int(due.split(b"\r\n")[1]) - int(now.split(b"\r\n")[2]) <= 120
        redis_command(server.port, "ZADD", part(prefix, "usage:leases"), "1", lease.id)
        again = await heir.usage.take(ENVIRONMENT, 10)
        assert again is not None
        assert again.counts == (counted(4),)
        await dead.usage.settle(lease, lease.counts, lease.targets)
        await dead.usage.settle(lease)
        assert await heir.usage.pending() == {ENVIRONMENT: 1}
        await heir.usage.settle(again)
        assert await heir.usage.pending() == {}


async def test_usage_that_cannot_be_read_is_neither_sent_nor_kept(server: RedisServer, prefix: str) -> None:
    """No body is posted for it, however little else waits, and what can be read is given."""
    async with member(server, prefix) as store:
        await store.usage.merge([counted(3)], [])
        counts, targets = part(prefix, "usage:counts"), part(prefix, "usage:targets")
        for number in range(3):
            redis_command(server.port, "HSET", counts, f"no key {number}", "1|1")
            redis_command(server.port, "HSET", targets, f"no target {number}", "{")
        found: list[UsageCount] = []
        async with asyncio.timeout(10):
            while (lease := await store.usage.take(ENVIRONMENT, 1)) is not None:
                assert lease.counts or lease.targets
                found += lease.counts
                await store.usage.settle(lease)
        assert found == [counted(3)]
        assert await store.usage.pending() == {}


async def test_a_cut_while_a_half_sent_batch_is_settled_doubles_nothing(
    server: RedisServer, prefix: str
) -> None:
    """Whatever call of the forwarder is the last that reaches Redis: no part of the batch is there twice."""
    bodies = 0

    def second_fails(_: EnvironmentId, __: bytes) -> UpstreamError | None:
        nonlocal bodies
        bodies += 1
        return UpstreamUnavailable("away") if bodies == 2 else None

    async with member(server, prefix) as store:
        saas = Saas(second_fails)
        clock = FakeClock()
        forwarder = UsageForwarder(store.usage, saas, 60, clock, Random(1), null_telemetry())
        entries = [usage(f"f{number}", padding="x" * 2000, environment=ENVIRONMENT) for number in range(300)]
        await store.usage.merge(entries, [])
        run, cut = store.usage._connection.run, False

        async def cut_off(*arguments: Any) -> Any:
            nonlocal cut
            if cut:
                raise StoreUnavailable("cut off")
            cut = bodies == 2
            return await run(*arguments)

        unheard: Callable[..., Coroutine[Any, Any, Any]] = cut_off
        store.usage._connection.run = unheard  # type: ignore[method-assign]  # what the network does
        await forwarder.flush(0.5)
        assert 0 < len(saas.taken) < 300
        store.usage._connection.run = run  # type: ignore[method-assign]  # it is back
        make_leases_return(server, prefix)
        await forwarder.flush(5)
        assert saas.taken == {(ENVIRONMENT, f"f{number}"): 1 for number in range(300)}


@pytest.mark.parametrize("row", ["broken", "", "|", "x|1", "1|x", "1|2|3"])
async def test_a_count_that_is_none_counts_as_absent(server: RedisServer, prefix: str, row: str) -> None:
    """It stops neither a merge, whose other counts would be lost, nor a lease on its way back."""
    other = UsageCount(UsageKey(ENVIRONMENT, "FFMETRICS", ()), 2, 1)
    counts = part(prefix, "usage:counts")
    async with member(server, prefix) as store:
        await store.usage.merge([counted(1)], [])
        field = redis_command(server.port, "HKEYS", counts).split(b"\r\n")[2].decode()
        redis_command(server.port, "HSET", counts, field, row)
        assert await store.usage.merge([counted(3), other], []) == 0

        redis_command(server.port, "HSET", counts, "another", row)
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert set(lease.counts) == {counted(3), other}
        redis_command(server.port, "ZADD", part(prefix, "usage:leases"), "1", lease.id)
        again = await store.usage.take(ENVIRONMENT, 10)
        assert again is not None
        assert set(again.counts) == {counted(3), other}
        await store.usage.settle(again, again.counts, again.targets)
        assert await store.usage.pending() == {ENVIRONMENT: 2}


async def test_registrations_of_a_member_that_died_come_back(server: RedisServer, prefix: str) -> None:
    """Also where nothing says any more that there are some: the heir looks everywhere now and then."""
    async with member(server, prefix, "dead") as dead, member(server, prefix, "next") as heir:
        assert await dead.leases.acquire(ENVIRONMENT)
        waiting = [Registration(ENVIRONMENT, Target(name)) for name in ("a", "b")]
        for one in waiting:
            await dead.registrations.add(one)
        assert list(await dead.registrations.take(ENVIRONMENT, 1)) == waiting[:1]
        taken = part(prefix, "registrations:taken")
        mark, _, entry = redis_command(server.port, "HGET", taken, "a").split(b"\r\n")[1].split(b"|", 2)
        redis_command(server.port, "HSET", taken, "a", f"{mark.decode()}|1|{entry.decode()}")
        redis_command(server.port, "DEL", f"{prefix}:registering")
        await dead.leases.release(ENVIRONMENT)
        assert await heir.leases.acquire(ENVIRONMENT)
        assert list(await heir.registrations.take(ENVIRONMENT, 5)) == waiting


async def test_attributes_told_elsewhere_are_kept_when_a_target_is_stored_late(
    tmp_path: Path, prefix: str
) -> None:
    """A target that says nothing of attributes waits for Redis, and then keeps those that are there."""
    with redis_server(tmp_path) as server:
        async with member(server, prefix) as store, member(server, prefix) as other:
            await other.targets.put(ENVIRONMENT, Target("ana", "Ana", {"plan": "gold"}))
            server.pause(on=True)
            try:
                with pytest.raises(StoreUnavailable, match="not stored yet"):
                    await store.targets.put(ENVIRONMENT, Target("ana", "Anna"), keep_attributes=True)
                with pytest.raises(StoreUnavailable, match="not stored yet"):
                    await store.targets.put(ENVIRONMENT, Target("bo", "Bo"), keep_attributes=True)
                assert await store.targets.get(ENVIRONMENT, "bo") == Target("bo", "Bo")
            finally:
                server.pause(on=False)
            await store.recovery.poll()
            assert await other.targets.get(ENVIRONMENT, "ana") == Target("ana", "Anna", {"plan": "gold"})
            assert await other.targets.get(ENVIRONMENT, "bo") == Target("bo", "Bo")


async def test_two_members_that_store_one_target_lose_no_attributes(server: RedisServer, prefix: str) -> None:
    """Whoever says nothing of attributes never undoes what was said at the same time."""
    async with member(server, prefix) as one, member(server, prefix) as other:
        for number in range(30):
            await one.targets.put(ENVIRONMENT, Target("ana", "Ana", {"n": number}))
            await asyncio.gather(
                one.targets.put(ENVIRONMENT, Target("ana", "Anna"), keep_attributes=True),
                other.targets.put(ENVIRONMENT, Target("ana", "Ana", {"n": number + 1})),
            )
            stored = await one.targets.get(ENVIRONMENT, "ana")
            assert stored is not None
            assert stored.attributes == {"n": number + 1}


async def test_targets_make_room_by_their_bytes(server: RedisServer, prefix: str) -> None:
    """However they are stored; the one that was stored last is never the one that goes."""
    async with member(server, prefix, target_bytes=5 * 200) as store, member(server, prefix) as other:
        for number in range(12):
            target = Target(f"t{number}", "n")
            await store.targets.put(ENVIRONMENT, target, keep_attributes=bool(number % 2))
            assert await other.targets.get(ENVIRONMENT, target.identifier) == target
        kept = redis_command(server.port, "HLEN", part(prefix, "targets"))
        assert kept in {b":4\r\n", b":5\r\n", b":6\r\n"}


@pytest.mark.parametrize("seed", range(4))
async def test_answers_that_are_lost_at_random_neither_lose_nor_double_usage(
    server: RedisServer, prefix: str, seed: int
) -> None:
    """From the post of an SDK to Harness: some calls do not arrive, of others the answer does not."""
    random, clock, saas, lossy = Random(seed), FakeClock(), Saas(), True
    async with member(server, prefix) as store:
        run = store.usage._connection.run

        async def unreliable(*arguments: Any) -> Any:
            if lossy and random.random() < 0.4:
                raise StoreUnavailable("did not arrive")
            answer = await run(*arguments)
            if lossy and random.random() < 0.4:
                raise StoreUnavailable("the answer did not arrive")
            return answer

        unheard: Callable[..., Coroutine[Any, Any, Any]] = unreliable
        store.usage._connection.run = unheard  # type: ignore[method-assign]  # what the network does
        intake = UsageIntake(store.usage, clock, null_telemetry())
        forwarder = UsageForwarder(store.usage, saas, 60, clock, random, null_telemetry())
        posted: Counter[tuple[EnvironmentId, str]] = Counter()
        for _ in range(30):
            name, times = f"f{random.randrange(5)}", random.randrange(1, 9)
            posted[ENVIRONMENT, name] += times
            counts = [usage(name, times, environment=ENVIRONMENT)]
            intake._merge(ENVIRONMENT, UsageReport(tuple(counts), (), SdkLabels(), 0))
            await intake.flush()
            await forwarder.flush(0.02)
            make_leases_return(server, prefix)
        lossy = False
        assert await intake.flush()
        await forwarder.flush(5)
        make_leases_return(server, prefix)
        await forwarder.flush(5)
        assert saas.taken == posted
        assert await store.usage.pending() == {}
