"""Ways in: one address of a Cluster, Sentinels with and without credentials, users without channels."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from ff_proxy.errors import StoreMisconfigured, StoreUnavailable
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.redis import Topology
from ff_proxy.store.redis import Endpoint, RedisStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import config, flag
from tests.support.ports import free_port
from tests.support.redis_server import redis_cluster, redis_server, redis_server_at

PASSWORD = "hunter2"
_Result = TypeVar("_Result")


def opened(where: Endpoint) -> RedisStore:
    """A store there that nobody else writes to."""
    return RedisStore(where, "ffp", "epoch", FakeClock(), null_telemetry())


async def insisted(ask: Callable[[], Awaitable[_Result]]) -> _Result:
    """The answer, however often that has to be tried."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await asyncio.sleep(0.02)


async def test_one_address_of_a_cluster_is_enough(tmp_path: Path) -> None:
    """It tells where the others are."""
    names = [EnvironmentId(f"environment-{number}") for number in range(12)]
    with redis_cluster(tmp_path) as nodes:
        where = Endpoint(Topology.SINGLE, (("127.0.0.1", nodes[0].port),))
        async with opened(where) as store, opened(where) as another:
            for name in names:
                written = config(flag(), environment=name)
                await insisted(partial(store.configs.replace, written))
            assert set(await store.configs.environments()) == set(names)
            for name in names:
                assert await insisted(partial(another.configs.environment, name)) is not None


@contextmanager
def _sentinel(place: Path, password: str) -> Iterator[int]:
    """The port of a Sentinel of a primary with ``PASSWORD``; ``password`` is its own."""
    with redis_server(place / "primary", ["--requirepass", PASSWORD]) as primary:
        port = free_port()
        file = place / "sentinel.conf"
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"sentinel monitor main 127.0.0.1 {primary.port} 1",
            f"sentinel auth-pass main {PASSWORD}",
            *([f"requirepass {password}"] if password else []),
        ]
        file.write_text("\n".join([*lines, ""]))
        with redis_server_at(place / "sentinel", port, sentinel=file):
            yield port


@pytest.mark.parametrize("user", ["", "default"])
@pytest.mark.parametrize("password", [PASSWORD, ""], ids=["with", "without"])
async def test_sentinels_with_and_without_a_password(tmp_path: Path, password: str, user: str) -> None:
    """Both are common beside servers that have one."""
    with _sentinel(tmp_path, password) as port:
        where = Endpoint(
            Topology.SENTINEL,
            (("127.0.0.1", port),),
            service="main",
            username=user,
            password=Secret(PASSWORD),
        )
        async with opened(where) as store:
            await insisted(lambda: store.configs.replace(config(flag(), environment=EnvironmentId("one"))))
            async with store.configs.watch():
                assert set(await store.configs.environments()) == {"one"}


async def test_a_wrong_password_is_a_mistake_that_names_its_option(tmp_path: Path) -> None:
    """Not an outage that passes, and the password is not shown."""
    with redis_server(tmp_path, ["--requirepass", PASSWORD]) as server:
        where = Endpoint(Topology.SINGLE, (("127.0.0.1", server.port),), password=Secret("wrong-one"))
        async with opened(where) as store:
            with pytest.raises(StoreMisconfigured, match="redis-password") as caught:
                await store.configs.environments()
            assert "wrong-one" not in str(caught.value)


async def test_a_user_without_channels_is_served(tmp_path: Path) -> None:
    """Changes are noticed later; the process is degraded, and says why."""
    users = tmp_path / "users.acl"
    users.write_text("user default on nopass ~* +@all resetchannels\n")
    with redis_server(tmp_path / "redis", ["--aclfile", str(users)]) as server:
        async with opened(Endpoint(Topology.SINGLE, (("127.0.0.1", server.port),))) as store:
            with pytest.raises(StoreMisconfigured, match="ACL"):
                await store.configs.watch().__aenter__()
            await store.recovery.poll_and_report()
            readiness = store.recovery.merge_into(Readiness(loaded=1))
            assert readiness.ready
            assert "noticed late" in readiness.degraded[0]
            assert "redis-username" in readiness.degraded[0]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (["--maxmemory", "1", "--maxmemory-policy", "noeviction"], "more maxmemory"),
        (["--replicaof", "127.0.0.1 1"], "this is a replica"),
        (["--min-replicas-to-write", "1"], "min-replicas-to-write"),
    ],
    ids=["full", "read-only", "without replicas"],
)
async def test_a_redis_that_takes_no_writes_makes_degraded(
    tmp_path: Path, trouble: list[str], reason: str
) -> None:
    """Although it answers every read."""
    with redis_server(tmp_path, trouble) as server:
        async with opened(Endpoint(Topology.SINGLE, (("127.0.0.1", server.port),))) as store:
            await store.configs.environments()
            await store.recovery.poll_and_report()
            assert reason in store.recovery.merge_into(Readiness(loaded=1)).degraded[0]
