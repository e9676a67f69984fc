"""What doctor says of Redis, data directories and offline directories that something is wrong with."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ff_proxy.commands.doctor.findings import Finding, Outcome
from ff_proxy.commands.doctor.stores import (
    check_data_directory,
    check_offline_directory,
    check_redis,
    check_target_directory,
)
from ff_proxy.config.declare import build
from ff_proxy.config.records import RedisStoreOptions
from ff_proxy.config.settings import read_settings
from ff_proxy.model.keys import Secret
from ff_proxy.model.member import FleetMember, fingerprint
from ff_proxy.model.redis import Topology
from ff_proxy.store.redis import Endpoint, scripts
from ff_proxy.store.redis.connection import Script
from ff_proxy.store.redis.inspection import commands_tried
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import config, flag
from tests.support.doctor import found_by, the_trouble, trouble
from tests.support.offline import bakery
from tests.support.ports import free_port
from tests.support.redis_member import member_at
from tests.support.redis_server import RedisServer, redis_cluster, redis_command, redis_sentinel, redis_server


async def redis(address: str, *more: str, secret: Secret | None = None) -> list[Finding]:
    """What is found of a Redis with these options."""
    options = build(RedisStoreOptions, read_settings([f"-redis-address={address}", *more], {}))
    return await found_by(lambda report: check_redis(options, secret, report))


async def test_a_good_redis(server: RedisServer, prefix: str) -> None:
    """One line, and nothing is left in it."""
    (found,) = await redis(f"127.0.0.1:{server.port}", f"-redis-prefix={prefix}")
    assert found.outcome is Outcome.OK
    assert f"redis://127.0.0.1:{server.port} answers in" in found.text
    assert ", version " in found.text
    assert redis_command(server.port, "KEYS", f"{prefix}*") == b"*0\r\n"


def test_every_command_of_the_store_is_tried() -> None:
    """Whoever uses another one adds it there."""
    tried = {str(command[0]) for command in commands_tried("k")} | {"EVAL", "EVALSHA", "SUBSCRIBE", "INFO"}
    used = set()
    for script in vars(scripts).values():
        if isinstance(script, Script):
            used |= {part.split("'")[1] for part in script.source.split("redis.call(")[1:]}
    folder = Path(scripts.__file__).parent
    for module in folder.glob("*.py"):
        for part in module.read_text(encoding="utf-8").split(".do(")[1:]:
            used |= {part.lstrip().split('"')[1]} if part.lstrip().startswith('"') else set()
    used -= {"CLUSTER INFO"}  # asked by the inspection itself
    assert len(used) > 20
    assert used <= tried


async def test_nobody_there() -> None:
    """Not started, a name that nobody knows, a socket that is not there."""
    found = the_trouble(await redis(f"127.0.0.1:{free_port()}"))
    assert found.startswith("problem redis://127.0.0.1:")
    assert "is it running, does a firewall let the port pass, and does it speak without TLS" in found
    found = the_trouble(await redis("redis.invalid:6379"))
    assert "check the host name in redis-address, and the DNS of this machine" in found
    found = the_trouble(await redis("unix:///nonexistent/redis.sock"))
    assert "is it running, with this path as its unixsocket?" in found


async def test_tls_with_a_redis_that_has_none(server: RedisServer) -> None:
    """It waits for the rest of what it takes for a command."""
    found = the_trouble(await redis(f"rediss://127.0.0.1:{server.port}"))
    assert "Timeout connecting to server (does it speak TLS there" in found


async def test_members_that_sign_with_another_secret(server: RedisServer, prefix: str) -> None:
    """Than the one configured here, or than the store's."""
    where, options = f"127.0.0.1:{server.port}", f"-redis-prefix={prefix}"
    async with member_at(Endpoint(Topology.SINGLE, (("127.0.0.1", server.port),)), prefix) as store:
        await store.members.put(FleetMember("m", host="there", signs_with=fingerprint(Secret("a"))))
        assert trouble(await redis(where, options, secret=Secret("a"))) == []
        for secret in (Secret("b"), None):
            found = the_trouble(await redis(where, options, secret=secret))
            assert found.startswith("warning members sign tokens with another secret: there")
        await store.members.put(FleetMember("m", host="there"))
        assert trouble(await redis(where, options, secret=Secret("b"))) == []


async def test_a_full_redis(tmp_path: Path) -> None:
    """What it says comes with what to do."""
    with redis_server(tmp_path, ["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]) as server:
        found = the_trouble(await redis(f"127.0.0.1:{server.port}"))
    assert found.endswith("(give it more maxmemory, with maxmemory-policy noeviction): ")


async def test_passwords_rights_and_policies(tmp_path: Path) -> None:
    """A wrong password, a policy that evicts, users without rights to commands, channels or keys."""
    extra = ["--requirepass", "secret", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]
    with redis_server(tmp_path, extra) as server:
        where = f"127.0.0.1:{server.port}"
        assert "check redis-username and redis-password" in the_trouble(await redis(where))
        wrong = the_trouble(await redis(where, "-redis-password=wrong"))
        assert "check redis-username and redis-password" in wrong
        assert "wrong" not in wrong
        found = the_trouble(await redis(where, "-redis-password=secret"))
        assert found.startswith("warning maxmemory-policy is allkeys-lru")
        assert found.endswith("CONFIG SET maxmemory-policy noeviction")
        users = "resetkeys resetchannels on nopass ~ffp:* "
        for name, rights in (
            ("few", "&ffp:* +@all -eval -evalsha -publish -zadd"),
            ("deaf", "+@all"),
            ("shy", "&ffp:* +@all -info"),
            ("blind", "&ffp:* +@all resetkeys ~other:*"),
        ):
            command = f"AUTH secret\r\nACL SETUSER {name} {users}{rights}\r\n".encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(command)
            assert await reader.readline() + await reader.readline() == b"+OK\r\n+OK\r\n"
            writer.close()
        few = trouble(await redis(where, "-redis-username=few", "-redis-password=x"))[-1]
        assert few.text == "user few has no right to: ZADD, PUBLISH, EVAL, EVALSHA"
        assert few.advice == "give it them: ACL SETUSER few ~ffp:* &ffp:* and these commands"
        deaf = trouble(await redis(where, "-redis-username=deaf", "-redis-password=x"))[-1]
        assert deaf.text == "user deaf has no right to: SUBSCRIBE ffp:notices, SUBSCRIBE ffp:hints"
        shy = await redis(where, "-redis-username=shy", "-redis-password=x")
        assert not trouble(shy)
        assert "version unknown (no right to INFO)" in shy[0].text
        blind = trouble(await redis(where, "-redis-username=blind", "-redis-password=x"))[-1]
        assert "user blind has no right to: SET, GET, EXISTS" in blind.text


async def test_a_replica_and_a_silent_sentinel(tmp_path: Path) -> None:
    """Which of the servers, and which of the Sentinels."""
    with redis_sentinel(tmp_path) as (_, replica, sentinel):
        found = trouble(await redis(f"127.0.0.1:{replica.port}"))
        assert "this is a replica" in f"{found[0].text}" or "READONLY" in found[0].text
        found = trouble(await redis(f"127.0.0.1:{sentinel}"))
        assert "is it a Sentinel? Write redis+sentinel://host/service" in found[0].text
        found = trouble(await redis(f"redis+sentinel://127.0.0.1:{sentinel}/other"))
        assert "SENTINEL MASTERS lists the names" in found[0].text
        absent = free_port()
        found = trouble(await redis(f"redis+sentinel://127.0.0.1:{sentinel},127.0.0.1:{absent}/main"))
        assert [one.text for one in found] == [f"Sentinels that do not answer: 127.0.0.1:{absent}"]


async def test_a_cluster_that_is_not_whole(tmp_path: Path) -> None:
    """Slots that nobody serves."""
    with redis_cluster(tmp_path) as servers:
        good = await redis(f"127.0.0.1:{servers[0].port}")
        assert not trouble(good)
        assert good[-1].text == "the Cluster is ok"
        redis_command(servers[0].port, "CLUSTER", "DELSLOTSRANGE", "0", "99")
        found = trouble(await redis(f"127.0.0.1:{servers[0].port}"))
        assert "of 16384 slots are served" in found[-1].text


async def data(directory: Path, *, ours: bool = False) -> list[Finding]:
    """What is found of a data directory."""
    return await found_by(lambda report: check_data_directory(directory, lambda: ours, report))


async def test_data_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, a file, empty, open to others, in use by us or by another, damaged."""
    (found,) = await data(tmp_path / "a" / "b")
    assert found.text == f"{tmp_path / 'a' / 'b'} does not exist yet and will be made"
    file = tmp_path / "file"
    file.write_text("x")
    assert "is a file: name a directory in data-dir" in the_trouble(await data(file))
    assert "cannot be made: it is of user id" in the_trouble(await data(file / "below"))
    directory = tmp_path / "data"
    directory.mkdir(0o700)
    assert not trouble(await data(directory))
    async with SqliteStore(directory, "one", FakeClock(), null_telemetry()) as store:
        await store.configs.replace(config(flag()))
        assert "is in use by another ff-proxy: end it" in the_trouble(await data(directory))
        beside = await data(directory, ours=True)
        assert not trouble(beside)
        assert [one.text.split(" ")[0] for one in beside] == [str(directory), "1"]
    directory.chmod(0o755)
    assert f"mode 0755): chmod 700 {directory}" in the_trouble(await data(directory))
    directory.chmod(0o700)
    monkeypatch.setattr(
        os, "statvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=4096, f_favail=9, f_files=9)
    )
    assert "is full: nothing new would survive" in the_trouble(await data(directory))
    monkeypatch.undo()
    (directory / "ff-proxy.sqlite").write_bytes(b"not a database, but long enough" * 100)
    assert "is damaged" in the_trouble(await data(directory))


async def test_a_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as a user who may do everything."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = the_trouble(await data(tmp_path))
    assert f"cannot be written by user id {os.getuid()}: it is of user id" in found
    found = the_trouble(await found_by(lambda report: check_target_directory(tmp_path / "new", report)))
    assert f"chown it to {os.getuid()}, or mount it writable" in found


async def test_offline_directories(tmp_path: Path) -> None:
    """Missing, without an environment, broken, odd, good."""

    async def offline(directory: Path) -> list[Finding]:
        return await found_by(lambda report: check_offline_directory(directory, report))

    absent = the_trouble(await offline(tmp_path / "absent"))
    assert "name the directory that generate-offline-config wrote in config-dir" in absent
    assert "is it the right directory?" in the_trouble(await offline(tmp_path))
    environment = bakery(tmp_path)
    assert not trouble(await offline(tmp_path))
    (environment / "segments.json").write_text("[{]")
    found = the_trouble(await offline(tmp_path))
    assert "segments.json: line 1" in found
    assert found.endswith(f"see ff-proxy validate {tmp_path}")
