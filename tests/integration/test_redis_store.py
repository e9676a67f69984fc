"""What a shared Redis can do to its members: be emptied, stopped, silent, failed over, or closed to them."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import Domain, StreamState, UpstreamStatus
from ff_proxy.model.keys import Secret
from ff_proxy.model.target import Target
from ff_proxy.store.merge import RETIRED
from ff_proxy.store.protocol import DropItem, PutItem
from ff_proxy.store.redis.keys import Keys
from tests.support.configs import ENVIRONMENT, config, flag, segment
from tests.support.redis_member import endpoint, held, member_at, part
from tests.support.redis_server import RedisServer, redis_command, redis_server


async def test_members_read_what_others_write(server: RedisServer, prefix: str) -> None:
    """Also when they know an older state and fetch only what moved since."""
    async with member_at(endpoint(server), prefix) as one, member_at(endpoint(server), prefix) as other:
        await one.configs.replace(config(flag("a"), flag("b"), segment()))
        before = await held(other)
        await one.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=2)))
        await one.configs.apply(ENVIRONMENT, DropItem(before.segments["beta"].domain, "beta"))
        await one.configs.apply(ENVIRONMENT, PutItem(flag("c")))
        after = await held(other)
        assert after == await held(one)
        assert after.flags["b"] is before.flags["b"]
        assert sorted(after.flags) == ["a", "b", "c"]
        assert after.retired == {"target-segment:beta": 1}


async def test_two_writers_at_once_lose_nothing(server: RedisServer, prefix: str) -> None:
    """Each write is merged with what the other wrote."""
    async with member_at(endpoint(server), prefix) as one, member_at(endpoint(server), prefix) as other:
        await one.configs.replace(config())
        await asyncio.gather(
            *(
                store.configs.apply(ENVIRONMENT, PutItem(flag(f"{name}{number}")))
                for name, store in (("one", one), ("other", other))
                for number in range(10)
            )
        )
        assert len((await held(one)).flags) == 20
        assert await held(one) == await held(other)


async def test_an_emptied_redis_is_filled_again_by_the_holder(server: RedisServer, prefix: str) -> None:
    """Everybody goes on serving meanwhile, and versions go on from where they were.

    See spec/behaviour#read-your-writes.
    """
    async with (
        member_at(endpoint(server), prefix, "holder") as holder,
        member_at(endpoint(server), prefix, "other", "second") as other,
    ):
        assert await holder.leases.acquire(ENVIRONMENT)
        await holder.configs.replace(config(flag(version=7)))
        before = await held(other)
        assert redis_command(server.port, "FLUSHALL") == b"+OK\r\n"
        assert await held(other) == before
        assert await other.configs.environments() == {ENVIRONMENT: before.revision}
        assert redis_command(server.port, "DBSIZE") == b":0\r\n"
        assert await holder.leases.acquire(ENVIRONMENT)
        again = await holder.configs.environments()
        assert again[ENVIRONMENT].counter > before.revision.counter
        after = await held(other)
        assert after.revision == again[ENVIRONMENT]
        assert after.flags == before.flags
        await holder.configs.replace(config(flag(on=False, version=1)))
        assert (await held(other)).flags["checkout"].version == 8


async def test_a_failover_that_lost_writes_takes_nobody_back(server: RedisServer, prefix: str) -> None:
    """Members serve what they have seen, and who leads writes it back under a revision of its own."""
    part = f"{prefix}:{{{ENVIRONMENT}}}:"
    async with (
        member_at(endpoint(server), prefix, "leader") as leader,
        member_at(endpoint(server), prefix, "other", "second") as other,
    ):
        assert await leader.leases.acquire(ENVIRONMENT)
        await leader.configs.replace(config(flag("a"), flag("b")))
        for name in ("config", "items", "moved"):
            redis_command(server.port, "COPY", f"{part}{name}", f"{part}{name}:old")
        await leader.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=2)))
        await leader.configs.apply(ENVIRONMENT, DropItem(flag("b").domain, "b"))
        seen = await held(other)
        for name in ("config", "items", "moved"):
            redis_command(server.port, "COPY", f"{part}{name}:old", f"{part}{name}", "REPLACE")
        # Also one that does not lead lets Redis have what it lacks.
        after = await held(other)
        assert after == msgspec.structs.replace(seen, revision=after.revision)
        back = (await leader.configs.environments())[ENVIRONMENT]
        assert back.counter > seen.revision.counter
        assert (await held(other)).revision == back
        assert await held(other) == await held(leader)
        async with member_at(endpoint(server), prefix, "third") as third:
            assert (await held(third)).flags == seen.flags
            assert (await held(third)).retired == seen.retired


async def test_a_new_term_begins_an_epoch(server: RedisServer, prefix: str) -> None:
    """So that no revision ever names two states, whatever a failover lost."""
    async with (
        member_at(endpoint(server), prefix, "one") as one,
        member_at(endpoint(server), prefix, "two", "second") as two,
    ):
        assert await one.leases.acquire(ENVIRONMENT)
        first = await one.configs.replace(config(flag()))
        second = await one.configs.apply(ENVIRONMENT, PutItem(flag("b")))
        assert second is not None
        assert second.epoch == first.epoch
        await one.leases.release(ENVIRONMENT)
        assert await two.leases.acquire(ENVIRONMENT)
        assert await two.configs.replace(config(flag(), flag("b"))) == second, "nothing has changed"
        third = await two.configs.apply(ENVIRONMENT, PutItem(flag("c")))
        assert third is not None
        assert third.epoch != first.epoch
        assert third.counter > second.counter
        assert await held(one) == await held(two)


async def test_a_slower_clock_does_not_lock_a_leader_out(server: RedisServer, prefix: str) -> None:
    """After a failover to a machine whose clock is behind, numbers still grow."""
    async with (
        member_at(endpoint(server), prefix, "one") as one,
        member_at(endpoint(server), prefix, "two") as two,
    ):
        assert await one.leases.acquire(ENVIRONMENT)
        await one.configs.replace(config(flag()))
        far = str(4_000_000_000_000_000)
        redis_command(server.port, "HSET", f"{prefix}:{{{ENVIRONMENT}}}:config", "fence", far)
        redis_command(server.port, "DEL", f"{prefix}:{{{ENVIRONMENT}}}:lease")
        assert await two.leases.acquire(ENVIRONMENT)
        await two.configs.apply(ENVIRONMENT, PutItem(flag("b")))
        assert sorted((await held(two)).flags) == ["b", "checkout"]


async def test_statuses_are_their_leaders_word(server: RedisServer, prefix: str) -> None:
    """Others cannot give it, and it ends with the lease; an emptied Redis is told again."""
    connected = UpstreamStatus(StreamState.CONNECTED, 5)
    async with (
        member_at(endpoint(server), prefix, "leader") as leader,
        member_at(endpoint(server), prefix, "other") as other,
        member_at(endpoint(server), prefix) as replica,
    ):
        assert await leader.leases.acquire(ENVIRONMENT)
        await leader.configs.replace(config(flag()))
        await leader.configs.set_status(ENVIRONMENT, connected)
        await other.configs.set_status(ENVIRONMENT, UpstreamStatus())
        for store in (leader, other, replica):
            assert await store.configs.statuses() == {ENVIRONMENT: connected}
        redis_command(server.port, "FLUSHALL")
        assert await leader.leases.acquire(ENVIRONMENT)
        await leader.configs.environments()
        assert await replica.configs.statuses() == {ENVIRONMENT: connected}
        await leader.leases.release(ENVIRONMENT)
        after = (await replica.configs.statuses())[ENVIRONMENT]
        assert after.state is StreamState.INITIALIZING


async def test_targets_survive_a_redis_that_is_away(tmp_path: Path, prefix: str) -> None:
    """What this member knows is served, what it could not store is stored later (no target is lost)."""
    with redis_server(tmp_path) as server:
        async with (
            member_at(endpoint(server), prefix) as store,
            member_at(endpoint(server), prefix) as other,
        ):
            known, late = Target("known", "", {"a": 1}), Target("late", "", {"b": 2})
            await store.targets.put(ENVIRONMENT, known)
            server.stop()
            assert await store.targets.get(ENVIRONMENT, "known") == known
            with pytest.raises(StoreUnavailable, match="not stored yet"):
                await store.targets.put(ENVIRONMENT, late)
            assert await store.targets.get(ENVIRONMENT, "late") == late
            server.start()
            assert await store.targets.get(ENVIRONMENT, "known") == known, "Redis was emptied"
            await store.recovery.poll()
            assert await other.targets.get(ENVIRONMENT, "late") == late


async def test_a_silent_redis_holds_nobody_up(tmp_path: Path, prefix: str) -> None:
    """Half-open: a known target is answered within a moment, an unknown one within a second."""
    with redis_server(tmp_path) as server:
        async with member_at(endpoint(server), prefix) as store:
            known = Target("known", "", {"a": 1})
            await store.targets.put(ENVIRONMENT, known)
            server.pause(on=True)
            try:
                begun = asyncio.get_running_loop().time()
                found = await asyncio.gather(*(store.targets.get(ENVIRONMENT, "known") for _ in range(500)))
                assert set(map(id, found)) == {id(found[0])}
                assert asyncio.get_running_loop().time() - begun < 0.9
                asked = [store.targets.get(ENVIRONMENT, f"unknown{number}") for number in range(200)]
                outcomes = await asyncio.gather(*asked, return_exceptions=True)
                assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
                with pytest.raises(StoreUnavailable, match="not stored yet"):
                    await store.targets.put(ENVIRONMENT, Target("new"))
                assert asyncio.get_running_loop().time() - begun < 10
            finally:
                server.pause(on=False)
            await store.recovery.poll()
            assert await store.targets.get(ENVIRONMENT, "new") == Target("new")


async def test_a_newcomer_before_the_fleet_has_noticed(tmp_path: Path, prefix: str) -> None:
    """Redis is emptied, and whoever starts then makes up a secret: from the next look on all know both."""
    with redis_server(tmp_path) as own:
        async with member_at(endpoint(own), prefix) as old, member_at(endpoint(own), prefix) as new:
            assert await old.secrets.auth_secret(Secret("first")) == Secret("first")
            await old.recovery.poll()
            redis_command(own.port, "FLUSHALL")
            assert await new.secrets.auth_secret(Secret("second")) == Secret("second")
            for store in (new, old, new):
                await store.recovery.poll()
            assert set(old.secrets.others()) == {Secret("second")}
            assert set(new.secrets.others()) == {Secret("first")}
            async with member_at(endpoint(own), prefix) as third:
                assert await third.secrets.auth_secret(Secret("third")) == Secret("second")
                await third.recovery.poll()
                assert set(third.secrets.others()) == {Secret("first")}


async def test_a_removed_environment_is_not_put_back(server: RedisServer, prefix: str) -> None:
    """Gone is not lost."""
    async with member_at(endpoint(server), prefix) as one, member_at(endpoint(server), prefix) as other:
        await one.configs.replace(config(flag()))
        await held(other)
        await one.configs.remove(ENVIRONMENT)
        assert await other.configs.environment(ENVIRONMENT) is None
        assert await other.configs.environments() == {}


async def test_deleted_items_are_remembered_in_bounds(server: RedisServer, prefix: str) -> None:
    """The last of them: their rows, and what readers are told by, go with them."""
    names = [f"f{number}" for number in range(RETIRED + 10)]
    async with member_at(endpoint(server), prefix) as store, member_at(endpoint(server), prefix) as reader:
        await store.configs.replace(config(*map(flag, names[:10])))
        await store.configs.replace(config())
        await held(reader)
        await store.configs.replace(config(*map(flag, names[10:])))
        await store.configs.replace(config(flag("last")))
        await store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "last"))
        for known in (await held(store), await held(reader)):
            assert len(known.retired) == RETIRED
            assert "flag:last" in known.retired
            assert "flag:f0" not in known.retired
    for command, name in (("HLEN", "items"), ("ZCARD", "moved")):
        assert redis_command(server.port, command, part(prefix, name)) == b":%d\r\n" % RETIRED
    assert int(redis_command(server.port, "ZCARD", part(prefix, "recent"))[1:]) <= RETIRED


async def test_one_member_holds_the_lease(server: RedisServer, prefix: str) -> None:
    """Another takes it when it is given back, under a higher number, and the first may not write any more."""
    async with (
        member_at(endpoint(server), prefix, "one") as one,
        member_at(endpoint(server), prefix, "two") as two,
    ):
        assert await one.leases.acquire(ENVIRONMENT)
        assert await one.leases.acquire(ENVIRONMENT)
        assert not await two.leases.acquire(ENVIRONMENT)
        with pytest.raises(StoreUnavailable, match="another member"):
            await two.configs.replace(config(flag()))
        await one.configs.replace(config(flag()))
        stale = one.leases.fence(ENVIRONMENT)
        await one.leases.release(ENVIRONMENT)
        assert await two.leases.acquire(ENVIRONMENT)
        assert two.leases.fence(ENVIRONMENT) is not None
        assert stale is not None
        assert (two.leases.fence(ENVIRONMENT) or 0) > stale
        await two.configs.apply(ENVIRONMENT, PutItem(flag("two")))
        # A holder that was asleep and still believes in its lease is stopped by the write itself.
        one.leases._fences[ENVIRONMENT] = stale
        with pytest.raises(StoreUnavailable, match="another member"):
            await one.configs.apply(ENVIRONMENT, PutItem(flag("one")))
        assert sorted((await held(two)).flags) == ["checkout", "two"]


async def test_an_expired_lease_is_taken_over(server: RedisServer, prefix: str) -> None:
    """A holder that does not renew is replaced."""
    async with (
        member_at(endpoint(server), prefix, "one") as one,
        member_at(endpoint(server), prefix, "two") as two,
    ):
        assert await one.leases.acquire(ENVIRONMENT)
        assert redis_command(server.port, "PEXPIRE", f"{prefix}:{{{ENVIRONMENT}}}:lease", "1") == b":1\r\n"
        async with asyncio.timeout(5):
            while not await two.leases.acquire(ENVIRONMENT):  # noqa: ASYNC110  (Redis tells nobody of an expiry)
                await asyncio.sleep(0.005)
        assert not await one.leases.acquire(ENVIRONMENT)
        assert one.leases.fence(ENVIRONMENT) is None


async def test_a_redis_that_is_gone_is_said_to_be(tmp_path: Path, prefix: str) -> None:
    """Every call ends in time with one kind of error, and works again afterwards."""
    with redis_server(tmp_path) as server:
        async with member_at(endpoint(server), prefix) as store:
            await store.configs.replace(config(flag()))
            before = await held(store)
            server.stop()
            async with asyncio.timeout(10):
                for call in (
                    store.configs.environments(),
                    store.configs.environment(ENVIRONMENT),
                    store.targets.get(ENVIRONMENT, "ana"),
                    store.usage.take(ENVIRONMENT, 1),
                    store.secrets.auth_secret(Secret("s")),
                ):
                    with pytest.raises(StoreUnavailable, match="Redis"):
                        await call
            server.start()
            await store.targets.put(ENVIRONMENT, Target("ana"))
            assert await store.targets.get(ENVIRONMENT, "ana") == Target("ana")
            assert (await held(store)).flags == before.flags


async def test_a_watcher_is_told_that_it_may_have_missed_something(tmp_path: Path, prefix: str) -> None:
    """A lost subscription raises, so that whoever watches reads again."""
    with redis_server(tmp_path) as server:
        async with member_at(endpoint(server), prefix) as store, store.configs.watch() as notices:
            server.stop()
            with pytest.raises(StoreUnavailable):
                async with asyncio.timeout(10):
                    await anext(notices)


@pytest.mark.parametrize("newer_first", [True, False])
async def test_an_emptied_redis_gets_the_newest_description(
    tmp_path: Path, prefix: str, *, newer_first: bool
) -> None:
    """Whichever member finds out first: an older one that another holds does not come back."""
    old, new = Target("ana", "", {"plan": "free"}), Target("ana", "", {"plan": "gold"})
    with redis_server(tmp_path) as server:
        async with member_at(endpoint(server), prefix) as one, member_at(endpoint(server), prefix) as two:
            for store in (one, two):
                await store.recovery.poll()
            await one.targets.put(ENVIRONMENT, old)
            await two.targets.put(ENVIRONMENT, new)
            redis_command(server.port, "FLUSHALL")
            for store in (two, one) if newer_first else (one, two):
                await store.recovery.poll()
                await store.recovery.poll()
            for store in (one, two):
                assert await store.targets.get(ENVIRONMENT, "ana") == new


async def test_a_redis_that_came_back_with_older_targets_is_told(server: RedisServer, prefix: str) -> None:
    """As a file of yesterday, or a replica that lagged behind, has them."""
    async with member_at(endpoint(server), prefix) as store, member_at(endpoint(server), prefix) as other:
        targets = Keys(prefix).targets(ENVIRONMENT)
        await store.targets.put(ENVIRONMENT, Target("ana", "yesterday"))
        yesterday = await store._connection.do("HGET", targets, "ana")
        await store.targets.put(ENVIRONMENT, Target("ana", "today"))
        await store._connection.do("HSET", targets, "ana", yesterday)
        assert await store.targets.get(ENVIRONMENT, "ana") == Target("ana", "today")
        await store.recovery.poll()
        assert await other.targets.get(ENVIRONMENT, "ana") == Target("ana", "today")


@pytest.mark.parametrize(
    ("row", "read"),
    [
        (
            b'{"identifier":"ana","name":"A","attributes":{"a":1},"anonymous":false}',
            Target("ana", "A", {"a": 1}),
        ),
        (
            b'{"identifier":"ana","name":"A","attributes":{"a":100000000000000000000}}',
            Target("ana", "A", {"a": 1e20}),
        ),
        (b'{"identifier":"ana","attributes":{"a":"%b"}}' % (b"x" * 1_000_000), Target("ana")),
        (b"{", None),
        (b"[1]", None),
        (b"\xff", None),
    ],
)
async def test_rows_of_others_are_read_or_passed_over(
    server: RedisServer, prefix: str, row: bytes, read: Target | None
) -> None:
    """Of older versions, which kept anything, and what somebody wrote by hand; each is described anew."""
    async with member_at(endpoint(server), prefix) as store:
        await store._connection.do("HSET", Keys(prefix).targets(ENVIRONMENT), "ana", row)
        assert await store.targets.get(ENVIRONMENT, "ana") == read
        await store.targets.put(ENVIRONMENT, Target("ana", "new"), keep_attributes=True)
        kept = {} if read is None else read.attributes
        assert await store.targets.get(ENVIRONMENT, "ana") == Target("ana", "new", kept)
