"""A Redis that has lost writes: by a flush, a dump, a failover, or an answer that never came."""

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.protocol import DropItem, PutItem
from ff_proxy.store.redis import RedisStore
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.redis_member import held, member, part
from tests.support.redis_server import RedisServer, redis_command

PARTS = ("config", "items", "moved", "recent")


def save(server: RedisServer, prefix: str) -> None:
    """Remember the environment as it is."""
    for name in PARTS:
        redis_command(server.port, "COPY", part(prefix, name), part(prefix, f"{name}:old"), "REPLACE")


def restore(server: RedisServer, prefix: str) -> None:
    """Put what was remembered in its place."""
    for name in PARTS:
        redis_command(server.port, "DEL", part(prefix, name))
        redis_command(server.port, "COPY", part(prefix, f"{name}:old"), part(prefix, name), "REPLACE")


async def changes_hands(old: RedisStore, new: RedisStore) -> None:
    """Another member leads from now on."""
    await old.leases.release(ENVIRONMENT)
    assert await new.leases.acquire(ENVIRONMENT)


async def test_a_state_from_before_a_change_of_leaders_is_not_taken(server: RedisServer, prefix: str) -> None:
    """By nobody: who leads writes what is newer, others add what they know, and Harness is asked again."""
    async with (
        member(server, prefix, "one") as one,
        member(server, prefix, "two") as two,
        member(server, prefix, "replica") as replica,
    ):
        assert await one.leases.acquire(ENVIRONMENT)
        await one.configs.replace(config(flag("a"), flag("b"), keys=("old", "revoked")))
        save(server, prefix)
        await changes_hands(one, two)
        await two.configs.replace(config(flag("a", on=False, version=2), keys=("old", "new")))
        seen = await held(replica)
        restore(server, prefix)
        assert (await held(replica)).flags == seen.flags
        assert (await held(replica)).keys == seen.keys
        async with member(server, prefix, "late") as late:
            assert (await held(late)).flags == seen.flags, "the replica has put it back"
        assert (await held(two)).keys == seen.keys
        async with member(server, prefix, "late") as late:
            assert (await held(late)).keys == seen.keys, "who leads has written the rest"
            assert (await held(late)).retired == seen.retired
        assert two.lost_writes._noted.is_set()


async def test_a_sleeper_writes_nothing_after_a_flush(server: RedisServer, prefix: str) -> None:
    """Its lease is gone: whoever has taken it meanwhile need not have written yet."""
    async with member(server, prefix, "sleeper") as sleeper, member(server, prefix, "other") as other:
        assert await sleeper.leases.acquire(ENVIRONMENT)
        await sleeper.configs.replace(config(flag("a")))
        await held(other)
        redis_command(server.port, "FLUSHALL")
        assert await other.leases.acquire(ENVIRONMENT)
        with pytest.raises(StoreUnavailable, match="another member"):
            await sleeper.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=9)))
        async with member(server, prefix, "late") as late:
            assert await late.configs.environment(ENVIRONMENT) is None
        await other.configs.environments()
        async with member(server, prefix, "late") as late:
            assert (await held(late)).flags["a"].version == 1


async def test_who_led_before_a_flush_leads_on_if_nobody_else_does(server: RedisServer, prefix: str) -> None:
    """The lease is taken anew for the first write, under a higher number."""
    async with member(server, prefix, "leader") as leader:
        assert await leader.leases.acquire(ENVIRONMENT)
        await leader.configs.replace(config(flag("a")))
        before = leader.leases.fence(ENVIRONMENT)
        assert before is not None
        redis_command(server.port, "FLUSHALL")
        await leader.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=2)))
        after = leader.leases.fence(ENVIRONMENT)
        assert after is not None
        assert after > before
        assert leader.lost_writes._noted.is_set()
        async with member(server, prefix, "late") as late:
            assert (await held(late)).flags["a"].version == 2


async def test_a_sleeper_does_not_lead_on_where_others_have_led(server: RedisServer, prefix: str) -> None:
    """Even if nobody does any more: what it is about to write is of the past."""
    async with member(server, prefix, "sleeper") as sleeper, member(server, prefix, "other") as other:
        assert await sleeper.leases.acquire(ENVIRONMENT)
        await sleeper.configs.replace(config(flag("a")))
        redis_command(server.port, "DEL", part(prefix, "lease"))
        assert await other.leases.acquire(ENVIRONMENT)
        await other.configs.replace(config(flag("a")))
        await other.leases.release(ENVIRONMENT)
        with pytest.raises(StoreUnavailable, match="another member"):
            await sleeper.configs.apply(ENVIRONMENT, DropItem(flag("a").domain, "a"))


async def test_a_write_that_got_no_answer_shares_its_revision_with_nobody(
    server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was seen, then lost in a failover; what is written instead is not taken for it."""
    async with member(server, prefix, "leader") as leader, member(server, prefix, "other") as other:
        assert await leader.leases.acquire(ENVIRONMENT)
        await leader.configs.replace(config(flag("a")))
        save(server, prefix)
        connection = leader._connection
        run = connection.run

        async def unanswered(*given: object) -> object:
            answer = await run(*given)  # type: ignore[arg-type]  # passed on as it is
            if isinstance(answer, list) and answer[0] == b"ok":
                raise StoreUnavailable("no answer")
            return answer

        monkeypatch.setattr(connection, "run", unanswered)
        with pytest.raises(StoreUnavailable):
            await leader.configs.apply(ENVIRONMENT, PutItem(flag("b")))
        monkeypatch.undo()
        assert sorted((await held(other)).flags) == ["a", "b"]
        restore(server, prefix)
        await leader.configs.apply(ENVIRONMENT, PutItem(flag("c")))
        assert sorted((await held(other)).flags) == ["a", "b", "c"]
        assert sorted((await held(leader)).flags) == ["a", "b", "c"], "what was seen is put back"
