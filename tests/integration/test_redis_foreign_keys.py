"""A key of another kind, or with other content: it concerns its environment, and no other."""

import asyncio
from random import Random

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.protocol import PutItem
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.redis_member import counted, held, member, part
from tests.support.redis_server import RedisServer, redis_command

OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")
KINDS = ["config", "items", "moved", "recent", "lease", "usage:counts", "usage:targets", "usage:leases"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_another_kind_concerns_its_environment_alone(
    server: RedisServer, prefix: str, kind: str
) -> None:
    """Members that hold the others go on with them, and so does one that starts meanwhile."""
    async with member(server, prefix) as store, member(server, prefix) as late:
        for environment in (ENVIRONMENT, OTHER):
            await store.configs.replace(config(flag("a"), environment=environment))
            await store.configs.set_status(environment, UpstreamStatus(StreamState.CONNECTED, 1))
            await store.usage.merge([counted(1, environment)], [])
        key = part(prefix, kind)
        redis_command(server.port, "DEL", key)
        redis_command(server.port, "XADD", key, "*", "of another", "program")
        for one in (store, late):
            assert OTHER in await one.configs.environments()
            assert (await one.configs.statuses())[OTHER].state is StreamState.CONNECTED
            assert (await one.usage.pending())[OTHER] == 1
        await store.configs.apply(OTHER, PutItem(flag("b")))
        for one in (store, late):
            current = await one.configs.environment(OTHER)
            assert current is not None
            assert sorted(current.flags) == ["a", "b"]
        redis_command(server.port, "DEL", key)
        await store.configs.apply(ENVIRONMENT, PutItem(flag("c")))
        current = await late.configs.environment(ENVIRONMENT)
        assert current is not None
        assert sorted(current.flags) == ["a", "c"]


@pytest.mark.parametrize("field", ["epoch", "counter", "status", "reporter", "fence", "life", "rows"])
@pytest.mark.parametrize("text", ["", "nonsense", "1e400", "1.5", "-1", "{"])
async def test_a_field_with_other_content_concerns_its_environment_alone(
    server: RedisServer, prefix: str, field: str, text: str
) -> None:
    """As above."""
    async with member(server, prefix) as store, member(server, prefix) as late:
        for environment in (ENVIRONMENT, OTHER):
            await store.configs.replace(config(flag("a"), environment=environment))
            await store.configs.set_status(environment, UpstreamStatus(StreamState.CONNECTED, 1))
        redis_command(server.port, "HSET", part(prefix, "config"), field, text)
        for one in (store, late):
            assert OTHER in await one.configs.environments()
            assert (await one.configs.statuses())[OTHER].state is StreamState.CONNECTED
        await store.configs.apply(OTHER, PutItem(flag("b")))
        current = await late.configs.environment(OTHER)
        assert current is not None
        assert sorted(current.flags) == ["a", "b"]


async def test_names_that_are_no_text_are_passed_over(server: RedisServer, prefix: str) -> None:
    """In every set of names that members share."""
    async with member(server, prefix) as store:
        await store.configs.replace(config(flag("a")))
        await store.usage.merge([counted(1)], [])
        for name in ("environments", "queues", "registering", "secrets", "secrets:bound", "born"):
            # Bytes that are no UTF-8, and a lone surrogate, which some decoders take and no encoder does.
            script = f"return redis.call('SADD', '{prefix}:{name}', '\\255\\254', '\\237\\160\\128')"
            if name != "born":
                redis_command(server.port, "EVAL", script, "0")
        assert list(await store.configs.environments()) == [ENVIRONMENT]
        assert await store.usage.pending() == {ENVIRONMENT: 1}
        await store.configs.statuses()
        await store.recovery.poll()
        assert not store.secrets.others()


@pytest.mark.parametrize("seed", range(12))
async def test_what_cannot_be_read_is_written_anew_by_who_leads(
    server: RedisServer, prefix: str, seed: int
) -> None:
    """Any fields with any content: members serve what they hold, versions never fall, and changes arrive."""
    random = Random(seed)
    async with member(server, prefix, "leader") as store, member(server, prefix, "follower") as late:
        assert await store.leases.acquire(ENVIRONMENT)
        await store.configs.replace(config(flag("a", version=5), flag("b", version=7)))
        assert (await held(late)).flags["b"].version == 7
        for turn in range(6):
            _spoil(server, prefix, random)
            for one in random.sample([store, late], 2):
                assert ENVIRONMENT in await one.configs.environments()
            assert await store.leases.acquire(ENVIRONMENT)
            await store.configs.apply(ENVIRONMENT, PutItem(flag("a", version=6 + turn)))
            async with member(server, prefix, "new") as new:
                for one in (store, late, new):
                    assert ENVIRONMENT in await one.configs.environments()
                    flags = (await held(one)).flags
                    assert {name: item.version for name, item in flags.items()} == {"a": 6 + turn, "b": 7}


def _spoil(server: RedisServer, prefix: str, random: Random) -> None:
    fields = ["epoch", "counter", "fence", "life", "rows", "info", "keys", "since", "status", "reporter"]
    texts = ["", "nonsense", "1e400", "1.5", "-1", "{", "9" * 30, "nan", "0x10", "\\255\\254"]
    spoiled = random.sample(fields, random.randrange(1, 4))
    for field in spoiled:
        value = f"'{random.choice(texts)}'"
        redis_command(
            server.port,
            "EVAL",
            f"return redis.call('HSET', KEYS[1], '{field}', {value})",
            "1",
            part(prefix, "config"),
        )
    if "epoch" not in spoiled:  # whoever has read it already must look again
        other = f"of others {random.random()}"
        redis_command(server.port, "HSET", part(prefix, "config"), "epoch", other)


async def test_an_environment_that_cannot_be_read_delays_no_other(server: RedisServer, prefix: str) -> None:
    """A member that starts serves the others, says which one it lacks, and has it when it can be read."""
    clock = FakeClock()
    async with member(server, prefix) as store, member(server, prefix) as late:
        for environment in (ENVIRONMENT, OTHER):
            await store.configs.replace(config(flag("a"), environment=environment))
        kept = redis_command(server.port, "HGET", part(prefix, "config"), "info").split(b"\r\n")[1].decode()
        redis_command(server.port, "HSET", part(prefix, "config"), "info", "{")
        snapshots = SnapshotRegistry(late.configs, CompileOptions(), clock, null_telemetry())
        following = asyncio.create_task(snapshots.run())
        async with asyncio.timeout(10):
            await snapshots.ready.wait()
        assert set(snapshots.names) == {OTHER}
        [reason] = snapshots.merge_into(Readiness(loaded=1)).degraded
        assert ENVIRONMENT in reason
        await snapshots.resync()
        redis_command(server.port, "HSET", part(prefix, "config"), "info", kept)
        await snapshots.resync()
        assert set(snapshots.names) == {ENVIRONMENT, OTHER}
        assert snapshots.merge_into(Readiness(loaded=2)).state == "ready"
        following.cancel()
        await asyncio.wait([following])


async def test_a_field_that_names_no_item_is_passed_over(server: RedisServer, prefix: str) -> None:
    """By members that have the environment, and by such that read it whole."""
    async with member(server, prefix) as store, member(server, prefix) as late:
        await store.configs.replace(config(flag("a")))
        await held(late)
        for name, value in (("\\255", "\\254"), ("other", "x")):
            script = (
                f"redis.call('HSET', KEYS[1], '{name}', '{value}') redis.call('HINCRBY', KEYS[2], 'rows', 1) "
                f"return redis.call('ZADD', KEYS[3], 99999999, '{name}')"
            )
            keys = [part(prefix, kind) for kind in ("items", "config", "moved")]
            redis_command(server.port, "EVAL", script, "3", *keys)
        await store.configs.apply(ENVIRONMENT, PutItem(flag("b")))
        async with member(server, prefix) as new:
            for one in (store, late, new):
                assert sorted((await held(one)).flags) == ["a", "b"]


async def test_the_age_of_data_is_known_while_a_status_cannot_be_read(
    server: RedisServer, prefix: str
) -> None:
    """It was confirmed when it was last read."""
    async with member(server, prefix) as store:
        await store.configs.replace(config(flag("a")))
        await store.configs.set_status(ENVIRONMENT, UpstreamStatus(StreamState.CONNECTED, 5, confirmed=7))
        await store.configs.statuses()
        redis_command(server.port, "HSET", part(prefix, "config"), "status", "{")
        found = (await store.configs.statuses())[ENVIRONMENT]
        assert (found.since, found.confirmed) == (5, 7)
        assert found.trouble


@pytest.mark.parametrize(
    "lease", ["nonsense", "other|7", "other|99999999999999999999", "other|x", "", "|", "a|b|1"]
)
@pytest.mark.parametrize("ends", [[], ["PX", "86400000"]])
async def test_a_lease_without_an_end_is_none(
    server: RedisServer, prefix: str, lease: str, ends: list[str]
) -> None:
    """Of a dead member, or of nobody: somebody leads all the same, and one at a time."""
    async with member(server, prefix, "one") as one, member(server, prefix, "two") as two:
        redis_command(server.port, "SET", part(prefix, "lease"), lease, *ends)
        assert await one.leases.acquire(ENVIRONMENT)
        assert not await two.leases.acquire(ENVIRONMENT)
        await one.configs.replace(config(flag("a")))
        redis_command(server.port, "PERSIST", part(prefix, "lease"))
        assert await one.leases.acquire(ENVIRONMENT)
        assert not await two.leases.acquire(ENVIRONMENT)
        redis_command(server.port, "PERSIST", part(prefix, "lease"))
        assert await two.leases.acquire(ENVIRONMENT)
        with pytest.raises(StoreUnavailable, match="another member"):
            await one.configs.replace(config(flag("b")))
        await two.configs.replace(config(flag("c")))
