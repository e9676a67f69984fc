"""The list of members in a real Redis: it forgets who is silent, and never grows without end."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec
import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.member import FleetMember
from ff_proxy.model.redis import Topology
from ff_proxy.store.fleet_presence import LISTED_SECONDS
from ff_proxy.store.redis import Endpoint, RedisStore
from tests.support.configs import ENVIRONMENT
from tests.support.redis_member import member, member_at, reached
from tests.support.redis_server import RedisServer, redis_cluster, redis_command, redis_server

MOST: Final = 500


def words(store: RedisStore, state: str = "ready") -> FleetMember:
    """What a member says of itself."""
    return FleetMember(store.members.own, "host", version="1.2.3", state=state)


async def names(store: RedisStore) -> list[str]:
    """Who is listed."""
    return [one.member.id for one in await store.members.present()]


async def test_members_see_each_other_and_who_leads(server: RedisServer, prefix: str) -> None:
    """Each is there once, as it said last; who leaves is gone at once."""
    async with member(server, prefix, "a") as one, member(server, prefix, "b") as other:
        assert await one.members.present() == []
        for state in ("starting", "ready"):
            assert await one.members.put(words(one, state))
            assert await other.members.put(words(other, state))
        seen = await one.members.present()
        assert [(one.member.id, one.member.state) for one in seen] == [("a", "ready"), ("b", "ready")]
        assert all(0 <= each.age < LISTED_SECONDS for each in seen)
        assert redis_command(server.port, "ZCARD", f"{prefix}:members") == b":2\r\n"
        assert await one.members.leaders([ENVIRONMENT]) == {}
        assert await other.leases.acquire(ENVIRONMENT)
        assert await one.members.leaders([ENVIRONMENT]) == {ENVIRONMENT: "b"}
        await other.members.take_out()
        assert await names(one) == ["a"]


async def test_who_was_silent_for_long_is_gone(server: RedisServer, prefix: str) -> None:
    """Whoever looks does not see it, whoever comes next deletes it, and nobody at all leaves nothing."""
    key = f"{prefix}:members"
    async with member(server, prefix, "a") as one:
        assert await one.members.put(words(one))
        dead = msgspec.json.encode(FleetMember("dead")).decode()
        redis_command(server.port, "ZADD", key, "1", dead)
        redis_command(server.port, "ZADD", key, "9999999999999", dead.replace("dead", "unborn"))
        assert "dead" not in await names(one)
        assert await one.members.put(words(one))
        assert await names(one) == ["a"]
        assert redis_command(server.port, "ZCARD", key) == b":1\r\n"
        left = int(redis_command(server.port, "PTTL", key)[1:])
        assert 0 < left <= LISTED_SECONDS * 1000


async def test_a_full_list_takes_nobody_more_and_keeps_those_in_it(server: RedisServer, prefix: str) -> None:
    """Hundreds of members are somebody's mistake."""
    async with member(server, prefix, "a") as one, member(server, prefix, "b") as other:
        assert await one.members.put(words(one))
        crowd = (
            "local time = redis.call('TIME') for number = 2, tonumber(ARGV[1]) do "
            "redis.call('ZADD', KEYS[1], string.format('%.0f', time[1] * 1000), "
            "'{\"id\":\"' .. number .. '\"}') end return 1"
        )
        redis_command(server.port, "EVAL", crowd, "1", f"{prefix}:members", str(MOST))
        assert not await other.members.put(words(other))
        assert await one.members.put(words(one, "degraded"))
        assert len(await names(one)) == MOST


async def test_what_nobody_can_read_is_passed_over(server: RedisServer, prefix: str) -> None:
    """Entries of other versions, and what is none of ours."""
    async with member(server, prefix, "a") as one:
        assert await one.members.put(words(one))
        score = (
            redis_command(server.port, "ZSCORE", f"{prefix}:members", _text(words(one)))
            .split(b"\r\n")[1]
            .decode()
        )
        for odd in ("", "no JSON", "[]", '{"id":1}', "\x00", '{"id":"next","state":"ready","colour":"red"}'):
            redis_command(server.port, "ZADD", f"{prefix}:members", score, odd)
        assert await names(one) == ["a", "next"]


@pytest.mark.parametrize("trouble", ["full", "read-only", "silent"])
async def test_a_redis_in_trouble_costs_the_entry_at_most(tmp_path: Path, prefix: str, trouble: str) -> None:
    """A full one keeps the list; one that takes no writes can still be read."""
    with redis_server(tmp_path) as server:
        async with member(server, prefix, "a") as one:
            assert await one.members.put(words(one))
            if trouble == "full":
                redis_command(server.port, "CONFIG", "SET", "maxmemory", "1")
                assert await one.members.put(words(one, "degraded"))
                assert [each.member.state for each in await one.members.present()] == ["degraded"]
            elif trouble == "read-only":
                redis_command(server.port, "CONFIG", "SET", "min-replicas-to-write", "1")
                with pytest.raises(StoreUnavailable):
                    await one.members.put(words(one, "degraded"))
                assert await names(one) == ["a"]
            else:
                server.stop()
                with pytest.raises(StoreUnavailable):
                    await one.members.put(words(one))
                with pytest.raises(StoreUnavailable):
                    await one.members.present()
                with pytest.raises(StoreUnavailable):
                    await one.members.leaders([ENVIRONMENT])


async def test_in_a_cluster_members_are_listed_while_any_node_is_away(tmp_path: Path, prefix: str) -> None:
    """The list has copies on all of them."""
    with redis_cluster(tmp_path) as nodes:
        where = Endpoint(Topology.CLUSTER, tuple(("127.0.0.1", node.port) for node in nodes))
        async with AsyncExitStack() as stack:
            one, other = [
                await stack.enter_async_context(reached(member_at(where, prefix, name)))
                for name in ("a", "b")
            ]
            for store in (one, other):
                assert await store.members.put(words(store))
            assert await names(one) == ["a", "b"]
            nodes[1].stop()
            assert await other.members.put(words(other))
            assert "b" in await names(one)
            await one.members.take_out()
            assert await names(other) == ["b"]


def _text(words: FleetMember) -> str:
    return msgspec.json.encode(words).decode()
