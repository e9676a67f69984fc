"""Everything that a Redis in use can say no with: each told with what to do, none of them half done."""

import asyncio
import io
import socket
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
from redis.exceptions import BusyLoadingError, ResponseError

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.redis import Topology
from ff_proxy.store.protocol import DropItem, PutItem
from ff_proxy.store.redis import Endpoint, RedisStore
from ff_proxy.store.redis.clients import Clients
from ff_proxy.store.redis.connection import Call, Connection, Script
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.redis_member import counted, held, member, part
from tests.support.redis_server import RedisServer, redis_cluster, redis_command, redis_server


async def test_a_full_redis_says_what_it_needs(tmp_path: Path, prefix: str) -> None:
    """Reads go on, writes say why not, and nothing is half written."""
    with redis_server(tmp_path, ["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]) as server:
        async with member(server, prefix) as store, member(server, prefix) as other:
            await store.configs.replace(config(flag()))
            before = await held(other)
            with pytest.raises(StoreUnavailable, match="more maxmemory"):
                await _fill(store)
            after = await held(other)
            assert after == await held(store)
            assert set(before.flags) < set(after.flags)
            redis_command(server.port, "CONFIG", "SET", "maxmemory", "1mb")
            with pytest.raises(StoreUnavailable, match="more maxmemory"):
                await store.usage.merge([counted()], [])


async def test_a_redis_that_drops_things_is_warned_of_once(tmp_path: Path, prefix: str) -> None:
    """Before it does: what it would lose without a word is not all put back."""
    lines = io.StringIO()
    clock = FakeClock()
    telemetry = Telemetry(make_logger("INFO", lines), clock)
    limits = ["--maxmemory", "100mb", "--maxmemory-policy"]
    for policy, warnings in (("noeviction", 0), ("allkeys-lru", 1)):
        with redis_server(tmp_path / policy, [*limits, policy]) as server:
            where = Endpoint(Topology.SINGLE, (("127.0.0.1", server.port),))
            async with RedisStore(where, prefix, "epoch", clock, telemetry) as store:
                for _ in range(2):
                    await store.recovery.poll()
        assert lines.getvalue().count("maxmemory-policy noeviction") == warnings


async def test_a_flush_is_said_once(server: RedisServer, prefix: str) -> None:
    """However many environments are gone; and once more when it happens again."""
    lines = io.StringIO()
    clock = FakeClock()
    telemetry = Telemetry(make_logger("INFO", lines), clock)
    names = [EnvironmentId(name) for name in ("one", "two", "three")]
    where = Endpoint(Topology.SINGLE, (("127.0.0.1", server.port),))
    async with RedisStore(where, prefix, "epoch", clock, telemetry) as store:
        for name in names:
            await store.configs.replace(config(flag(), environment=name))
        for flushes in (1, 2):
            redis_command(server.port, "FLUSHALL")
            for _ in range(2):
                assert set(await store.configs.environments()) == set(names)
            assert lines.getvalue().count("Redis lost environments") == flushes


async def test_a_replica_is_told_from_a_primary(tmp_path: Path, prefix: str) -> None:
    """Reading works, writing names the mistake; when it is a primary again, so does writing."""
    with redis_server(tmp_path) as server:
        async with member(server, prefix) as store:
            await store.configs.replace(config(flag()))
            redis_command(server.port, "REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(StoreUnavailable, match="this is a replica"):
                await store.configs.apply(ENVIRONMENT, PutItem(flag("b")))
            redis_command(server.port, "REPLICAOF", "NO", "ONE")
            await store.configs.apply(ENVIRONMENT, PutItem(flag("b")))


async def test_a_script_that_never_ends_is_named(tmp_path: Path, prefix: str) -> None:
    """Somebody else's: everything else is answered with -BUSY until it is killed."""
    with redis_server(tmp_path, ["--lua-time-limit", "20"]) as server:
        async with member(server, prefix) as store:
            await store.configs.replace(config(flag()))
            with socket.create_connection(("127.0.0.1", server.port)) as somebody:
                somebody.sendall(b"*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n")
                with pytest.raises(StoreUnavailable, match="SCRIPT KILL"):
                    await _use_for_ever(store)
                redis_command(server.port, "SCRIPT", "KILL")
                somebody.recv(1000)
            await store.configs.apply(ENVIRONMENT, PutItem(flag("c")))


async def test_a_user_without_a_command_is_told_of_its_acl(tmp_path: Path, prefix: str) -> None:
    """Whether the command is refused itself or in a script."""
    for rule in ("-evalsha", "-hset", "-smembers", "-subscribe"):
        users = tmp_path / "users.acl"
        users.write_text(f"user default on nopass ~* &* +@all {rule}\n")
        with redis_server(tmp_path / rule[1:], ["--aclfile", str(users)]) as server:
            async with member(server, prefix) as store:
                with pytest.raises(StoreUnavailable, match="ACL"):
                    await _use(store)


async def _fill(store: RedisStore) -> None:
    for number in range(100):
        await store.configs.apply(ENVIRONMENT, PutItem(flag(f"f{number}", description="x" * 100_000)))


async def _use_for_ever(store: RedisStore) -> None:
    async with asyncio.timeout(10):
        while True:
            await store.configs.environments()


async def _use(store: RedisStore) -> None:
    async with store.configs.watch():
        await store.configs.replace(config(flag()))
        await store.configs.environments()


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (BusyLoadingError("Redis is loading the dataset in memory"), "it is loading its data"),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), "check its disk"),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), "min-replicas-to-write"),
        (ValueError("not a number"), "another version of ff-proxy"),
    ],
)
def test_every_refusal_has_its_advice(error: Exception, advice: str) -> None:
    """Those that are hard to bring about."""
    with pytest.raises(StoreUnavailable, match=advice) as caught, translated():
        raise error
    assert caught.value.__cause__ is error


async def test_what_others_left_under_the_prefix_is_no_crash(server: RedisServer, prefix: str) -> None:
    """Content of another kind, and content that is not ours."""
    async with member(server, prefix) as store:
        redis_command(server.port, "SET", part(prefix, "config"), "text")
        with pytest.raises(StoreUnavailable, match="another program"):
            await store.configs.replace(config(flag()))
        redis_command(server.port, "DEL", part(prefix, "config"))
        await store.configs.replace(config(flag()))
        redis_command(server.port, "HSET", part(prefix, "items"), "flag:checkout", "nonsense")
        async with member(server, prefix) as other:
            with pytest.raises(StoreUnavailable, match="cannot be read"):
                await other.configs.environment(ENVIRONMENT)
        async with store.configs.watch() as notices:
            for nonsense in ("a\nb", "a\nb\nc", "a\nb\n1\nd"):
                redis_command(server.port, "PUBLISH", f"{prefix}:notices", nonsense)
            redis_command(server.port, "PUBLISH", f"{prefix}:notices", "last")
            async with asyncio.timeout(5):
                assert (await anext(notices)).environment == "last"


async def test_half_an_environment_is_none(server: RedisServer, prefix: str) -> None:
    """One key evicted and the others there: members serve what they hold, and the leader makes it whole."""
    for lost in ("items", "moved", "config"):
        fleet = prefix + lost
        async with member(server, fleet, "leader") as leader, member(server, fleet, "other") as other:
            assert await leader.leases.acquire(ENVIRONMENT)
            await leader.configs.replace(config(flag("a"), flag("b")))
            await leader.configs.apply(ENVIRONMENT, DropItem(flag("b").domain, "b"))
            before = await held(other)
            redis_command(server.port, "DEL", part(fleet, lost))
            async with member(server, fleet) as late:
                assert await late.configs.environment(ENVIRONMENT) is None
            assert (await held(other)).flags == before.flags
            assert list(await leader.configs.environments()) == [ENVIRONMENT]
            async with member(server, fleet) as late:
                assert (await held(late)).flags == before.flags
                assert (await held(late)).retired == before.retired
            assert (await held(other)).revision != before.revision


async def test_half_an_environment_that_nobody_holds_is_written_anew(
    server: RedisServer, prefix: str
) -> None:
    """By the next member that has it from SaaS."""
    async with member(server, prefix) as store:
        await store.configs.replace(config(flag("a"), flag("b")))
    redis_command(server.port, "DEL", part(prefix, "items"))
    async with member(server, prefix) as store, member(server, prefix) as other:
        await store.configs.replace(config(flag("a")))
        assert list((await held(other)).flags) == ["a"]


async def test_whoever_missed_a_removal_reads_what_came_after(server: RedisServer, prefix: str) -> None:
    """An environment of the same name is another one: nothing of the old is in it."""
    async with member(server, prefix) as store, member(server, prefix) as other:
        await store.configs.replace(config(flag("old"), flag("a")))
        await held(other)
        await store.configs.remove(ENVIRONMENT)
        await store.configs.replace(config(flag("a")))
        assert list((await held(other)).flags) == ["a"]
        assert (await held(other)).retired == {}


async def test_a_set_that_was_lost_is_mended(server: RedisServer, prefix: str) -> None:
    """Members that start later find the environment again."""
    async with member(server, prefix, "leader") as leader:
        assert await leader.leases.acquire(ENVIRONMENT)
        await leader.configs.replace(config(flag()))
        redis_command(server.port, "DEL", f"{prefix}:environments")
        await leader.configs.environments()
        async with member(server, prefix, "late") as late:
            assert list(await late.configs.environments()) == [ENVIRONMENT]


async def test_a_leader_of_the_past_does_not_report(server: RedisServer, prefix: str) -> None:
    """Nor is a status forgotten when the lease is taken under a new number."""
    connected = UpstreamStatus(StreamState.CONNECTED, 5)
    async with member(server, prefix, "old") as old, member(server, prefix, "new") as new:
        assert await old.leases.acquire(ENVIRONMENT)
        stale = old.leases.fence(ENVIRONMENT)
        assert stale is not None
        await old.leases.release(ENVIRONMENT)
        assert await new.leases.acquire(ENVIRONMENT)
        await new.configs.set_status(ENVIRONMENT, connected)
        old.leases._fences[ENVIRONMENT] = stale
        await old.configs.set_status(ENVIRONMENT, UpstreamStatus(StreamState.DISCONNECTED, 6))
        assert await new.configs.statuses() == {ENVIRONMENT: connected}
        redis_command(server.port, "DEL", part(prefix, "lease"))
        assert await new.leases.acquire(ENVIRONMENT)
        assert (await new.configs.statuses())[ENVIRONMENT].state is StreamState.INITIALIZING
        await new.configs.environments()
        assert await new.configs.statuses() == {ENVIRONMENT: connected}


async def test_a_leader_is_not_locked_out_of_its_own_term(server: RedisServer, prefix: str) -> None:
    """After a flush and a clock that went back, somebody may have written under a higher number."""
    async with member(server, prefix, "leader") as leader:
        assert await leader.leases.acquire(ENVIRONMENT)
        await leader.configs.replace(config(flag()))
        redis_command(server.port, "HSET", part(prefix, "config"), "fence", "4000000000000000")
        with pytest.raises(StoreUnavailable, match="another member"):
            await leader.configs.apply(ENVIRONMENT, PutItem(flag("b")))
        assert await leader.leases.acquire(ENVIRONMENT)
        await leader.configs.apply(ENVIRONMENT, PutItem(flag("b")))


async def test_a_subscription_that_was_cut_is_told_though_redis_is_there(
    server: RedisServer, prefix: str
) -> None:
    """It is not taken up again behind the watcher's back: notices of the meantime are lost."""
    async with member(server, prefix) as store, store.configs.watch() as notices:
        redis_command(server.port, "CLIENT", "KILL", "TYPE", "pubsub")
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(5):
                await anext(notices)


@pytest.mark.parametrize("clustered", [False, True])
async def test_an_answer_is_never_anothers(tmp_path: Path, *, clustered: bool) -> None:
    """Calls that are given up at any moment leave no answer behind for whoever uses the connection next."""
    echo = Script("return ARGV[1]")
    async with AsyncExitStack() as stack:
        nodes = (
            stack.enter_context(redis_cluster(tmp_path))
            if clustered
            else [stack.enter_context(redis_server(tmp_path))]
        )
        topology = Topology.CLUSTER if clustered else Topology.SINGLE
        seeds = tuple(("127.0.0.1", node.port) for node in nodes)
        connection = Connection(Clients(Endpoint(topology, seeds)))
        stack.push_async_callback(connection.close)
        random = Random(3)
        patience = 0.0
        heard = 0

        async def ask(number: int) -> None:
            nonlocal heard
            with suppress(TimeoutError):
                async with asyncio.timeout(random.random() * patience):
                    if number % 2:
                        answers = [await connection.run(echo, ["{a}"], [number])]
                    else:
                        answers = await connection.each([Call(echo, ["{a}"], [number])])
                    assert answers == [str(number).encode()]
                    heard += 1

        await connection.run(echo, ["{a}"], ["warm"])
        for _ in range(60):
            begin = time.monotonic()
            answers = await asyncio.gather(*(connection.run(echo, ["{a}"], [n]) for n in range(40)))
            assert answers == [str(number).encode() for number in range(40)]
            # As long as it takes now, so that some are answered and others are given up.
            patience = 2 * (time.monotonic() - begin)
            await asyncio.gather(*(ask(number) for number in range(40)))
        assert 0 < heard < 2400


def test_no_two_environments_share_keys() -> None:
    """Whatever they are called; and all keys of one are in one slot."""
    keys = Keys("ffp")
    names = ["a b", "x612062", "=612062", "612062", "", "a}b", "{a}", "ünï", "\ud800", "a", "A"]
    assert len({keys.config(EnvironmentId(name)) for name in names}) == len(names)
    for name in names:
        tag = keys.config(EnvironmentId(name)).split("{", 1)[1].split("}", 1)[0]
        assert tag, "an empty tag is no tag"
        assert keys.items(EnvironmentId(name)) == f"ffp:{{{tag}}}:items"


async def test_a_slot_that_moves_takes_its_environment_along(tmp_path: Path, prefix: str) -> None:
    """Resharding under writes: answers are right or there are none, and all of it goes on afterwards."""
    with redis_cluster(tmp_path) as nodes:
        where = Endpoint(Topology.CLUSTER, tuple(("127.0.0.1", node.port) for node in nodes))
        epoch = uuid4().hex
        async with RedisStore(where, prefix, epoch, FakeClock(), null_telemetry()) as store:
            await store.configs.replace(config(flag("a"), flag("b")))
            await store.usage.merge([counted(3)], [])
            names = {node.port: _word(redis_command(node.port, "CLUSTER", "MYID")) for node in nodes}
            slot = _word(redis_command(nodes[0].port, "CLUSTER", "KEYSLOT", part(prefix, "config")))
            source = next(
                node
                for node in nodes
                if _word(redis_command(node.port, "CLUSTER", "COUNTKEYSINSLOT", slot)) != "0"
            )
            target = next(node for node in nodes if node is not source)
            redis_command(target.port, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source.port])
            redis_command(source.port, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target.port])
            first, *rest = _words(redis_command(source.port, "CLUSTER", "GETKEYSINSLOT", slot, "100"))
            _migrate(source, target, [first])
            with suppress(StoreUnavailable):  # keys of one script on two nodes: nobody can answer
                assert sorted((await held(store)).flags) == ["a", "b"]
            _migrate(source, target, rest)
            for node in (target, source, *(node for node in nodes if node not in {source, target})):
                redis_command(node.port, "CLUSTER", "SETSLOT", slot, "NODE", names[target.port])
            await store.configs.apply(ENVIRONMENT, PutItem(flag("c")))
            assert sorted((await held(store)).flags) == ["a", "b", "c"]
            assert await store.usage.pending() == {ENVIRONMENT: 1}


def _migrate(source: RedisServer, target: RedisServer, keys: list[str]) -> None:
    redis_command(source.port, "MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)


def _word(answer: bytes) -> str:
    return _words(answer)[0]


def _words(answer: bytes) -> list[str]:
    lines = answer.decode().split("\r\n")
    return [line.removeprefix(":") for line in lines if line and line[0] not in "*$"]
