"""The ways to a Redis: a socket, a user, a database, Sentinel, TLS."""

import asyncio
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import Secret
from ff_proxy.model.redis import Topology
from ff_proxy.store.protocol import PutItem
from ff_proxy.store.redis import Endpoint
from ff_proxy.store.redis.clients import Clients
from ff_proxy.store.redis.connection import Connection
from ff_proxy.tls.trust import client_trust
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.ports import free_port
from tests.support.redis_member import held, member_at
from tests.support.redis_server import RedisServer, redis_cluster, redis_command, redis_sentinel, redis_server


async def test_a_socket_a_user_and_a_database(tmp_path: Path, prefix: str) -> None:
    """An ACL user that may touch one prefix only, over a Unix socket, in database 3."""
    path = tmp_path / "redis.sock"
    users = tmp_path / "users.acl"
    users.write_text(
        f"user default on nopass ~* &* +@all\nuser proxy on >pa55 ~{prefix}:* &{prefix}:* +@all\n"
    )
    rules = ["--unixsocket", str(path), "--aclfile", str(users)]
    with redis_server(tmp_path, rules) as server:
        good = Endpoint(
            Topology.SOCKET, socket=str(path), username="proxy", password=Secret("pa55"), database=3
        )
        async with member_at(good, prefix) as store:
            await store.configs.replace(config(flag()))
            assert (await held(store)).flags
            assert redis_command(server.port, "DBSIZE") == b":0\r\n"
        for username, password in (("proxy", "wrong"), ("nobody", "pa55")):
            bad = Endpoint(Topology.SOCKET, socket=str(path), username=username, password=Secret(password))
            async with member_at(bad, prefix) as store:
                with pytest.raises(StoreUnavailable, match="check redis-username") as caught:
                    await store.configs.environments()
                assert "pa55" not in str(caught.value)
        async with member_at(good, "elsewhere") as store:
            with pytest.raises(StoreUnavailable, match="ACL"):
                await store.configs.replace(config(flag()))


async def test_sentinels_lead_to_the_new_primary(tmp_path: Path, prefix: str) -> None:
    """After the primary's death the replica is promoted, and the store goes on with what it holds."""
    with redis_sentinel(tmp_path) as (primary, replica, port):
        where = Endpoint(Topology.SENTINEL, (("127.0.0.1", port),), service="main")
        async with member_at(where, prefix) as store:
            await store.configs.replace(config(flag(version=3)))
            await _until(lambda: _replicated(primary, replica))
            primary.stop()
            async with asyncio.timeout(25):
                while True:
                    try:
                        await store.configs.apply(ENVIRONMENT, PutItem(flag(on=False, version=4)))
                        break
                    except StoreUnavailable:
                        await asyncio.sleep(0.1)
            assert (await held(store)).flags["checkout"].version == 4
            assert redis_command(replica.port, "DBSIZE") != b":0\r\n"


async def test_tls_is_checked_against_the_trusted_authorities(tmp_path: Path, prefix: str) -> None:
    """A server whose authority is trusted is used, any other refused."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    await asyncio.to_thread(
        subprocess.run,
        [*making, "-keyout", str(key), "-out", str(certificate), "-days", "1", *subject],
        check=True,
        capture_output=True,
    )
    port = free_port()
    extra = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    with redis_server(tmp_path, [*extra, "--tls-auth-clients", "no"]):
        trust = client_trust({}).context
        where = Endpoint(Topology.SINGLE, (("127.0.0.1", port),), trust=trust)
        async with member_at(where, prefix) as store:
            with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
                await store.configs.environments()
        trust = client_trust({"SSL_CERT_FILE": str(certificate)}).context
        where = Endpoint(Topology.SINGLE, (("127.0.0.1", port),), trust=trust)
        async with member_at(where, prefix) as store:
            await store.configs.replace(config(flag()))
            assert (await held(store)).flags


MOST: Final = 32
"""Connections of one process to one node, as docs/redis.md says."""


@pytest.mark.parametrize("topology", [Topology.SINGLE, Topology.SENTINEL, Topology.CLUSTER])
async def test_what_a_burst_has_opened_is_closed_again(tmp_path: Path, topology: Topology) -> None:
    """Many members after one outage would fill the server with connections that nobody needs; calls go on."""
    with ExitStack() as servers:
        service = "main" if topology is Topology.SENTINEL else ""
        if topology is Topology.SENTINEL:
            primary, _, port = servers.enter_context(redis_sentinel(tmp_path))
            ports, ask = [port], [primary]
        elif topology is Topology.CLUSTER:
            ask = servers.enter_context(redis_cluster(tmp_path))
            ports = [server.port for server in ask]
        else:
            ask = [servers.enter_context(redis_server(tmp_path))]
            ports = [server.port for server in ask]
        where = Endpoint(topology, tuple(("127.0.0.1", port) for port in ports), service=service)
        connection = Connection(Clients(where), idle_seconds=0.2)
        await connection.do("SET", "key", "held")
        before = _clients(ask)
        await asyncio.gather(*(connection.do("GET", "key") for _ in range(100)))
        assert before + 20 <= _clients(ask) <= before + MOST
        async with asyncio.timeout(10):
            while _clients(ask) > before + 1:
                assert await connection.do("GET", "key") == b"held"
                await asyncio.sleep(0.02)
        await connection.close()


async def test_a_steady_load_keeps_its_connections(tmp_path: Path) -> None:
    """Opening them anew costs more than holding them."""
    with redis_server(tmp_path) as server:
        where = Endpoint(Topology.SINGLE, (("127.0.0.1", server.port),))
        connection = Connection(Clients(where), idle_seconds=0.01)
        for _ in range(20):
            await asyncio.gather(*(connection.do("GET", "key") for _ in range(20)))
            await asyncio.sleep(0.005)
        opened = _figure(server, "stats", "total_connections_received")
        assert opened < 20 * 2 + 5
        await connection.close()


def _clients(servers: Sequence[RedisServer]) -> int:
    return sum(_figure(server, "clients", "connected_clients") for server in servers)


def _figure(server: RedisServer, section: str, name: str) -> int:
    told = redis_command(server.port, "INFO", section).decode()
    return int(told.partition(f"{name}:")[2].split()[0])


async def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (another process tells nobody)
            await asyncio.sleep(0.02)


def _replicated(primary: RedisServer, replica: RedisServer) -> bool:
    return redis_command(primary.port, "DBSIZE") == redis_command(replica.port, "DBSIZE")
