"""Which stores the contract suites run over: one entry per adapter, and every suite runs over it."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
import pytest

from ff_proxy.model.memory import LEAST_SHARES, MemoryShares
from ff_proxy.model.redis import Topology
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import Store
from ff_proxy.store.redis import Endpoint, RedisStore
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.redis_member import reached
from tests.support.redis_server import RedisServer, redis_cluster, redis_server


class Servers:
    """The servers that adapters need, started when the first test asks and shared by all."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._single: RedisServer | None = None
        self._cluster: list[RedisServer] = []

    def single(self) -> Endpoint:
        """One Redis."""
        if self._single is None:
            self._single = self._stack.enter_context(redis_server(self._directory / "single"))
        return Endpoint(Topology.SINGLE, (("127.0.0.1", self._single.port),))

    def cluster(self) -> Endpoint:
        """A Cluster of three primaries."""
        if not self._cluster:
            self._cluster = self._stack.enter_context(redis_cluster(self._directory / "cluster"))
        return Endpoint(Topology.CLUSTER, tuple(("127.0.0.1", server.port) for server in self._cluster))


Opener = Callable[..., AbstractAsyncContextManager[Store]]
"""Opens a store: ``opener(directory, servers, usage_queue=…, registrations=…)`` in bytes."""


def least(sizes: Mapping[str, int]) -> MemoryShares:
    """The shares of the least budget, but for these."""
    return msgspec.structs.replace(LEAST_SHARES, **sizes)


def _memory(_: Path, __: Servers, **sizes: int) -> AbstractAsyncContextManager[Store]:
    return MemoryStore("epoch-1", FakeClock(), shares=least(sizes))


def _sqlite(directory: Path, _: Servers, **sizes: int) -> AbstractAsyncContextManager[Store]:
    return SqliteStore(
        directory, "epoch-1", FakeClock(), null_telemetry(), name="contract", shares=least(sizes)
    )


def _redis(_: Path, servers: Servers, **sizes: int) -> AbstractAsyncContextManager[Store]:
    return _member(servers.single(), sizes)


def _cluster(_: Path, servers: Servers, **sizes: int) -> AbstractAsyncContextManager[Store]:
    return reached(_member(servers.cluster(), sizes))


def _member(where: Endpoint, sizes: Mapping[str, int]) -> RedisStore:
    # A prefix of its own is as good as a Redis of its own.
    return RedisStore(
        where, uuid4().hex, "epoch-1", FakeClock(), null_telemetry(), member="", shares=least(sizes)
    )


OPENERS: Final[dict[str, Opener]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "redis": _redis,
    "redis-cluster": _cluster,
}
"""Every adapter by name. Adding one here is all it takes."""


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Ended with the session."""
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("servers"), stack)


@pytest.fixture(params=list(OPENERS))
def stores(
    request: pytest.FixtureRequest, tmp_path: Path, servers: Servers
) -> Callable[..., AbstractAsyncContextManager[Store]]:
    """A function that opens one fresh store of the adapter under test; keywords limit its queues."""
    opener = OPENERS[request.param]

    def open_store(**sizes: int) -> AbstractAsyncContextManager[Store]:
        return opener(tmp_path, servers, **sizes)

    return open_store


@pytest.fixture
async def store(stores: Callable[..., AbstractAsyncContextManager[Store]]) -> AsyncIterator[Store]:
    """One fresh store of the adapter under test, with production sizes."""
    async with stores() as opened:
        yield opened
