"""Stores that outlive a process, to be filled before it starts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

from bench.common.processes import HOST
from bench.common.redis import redis_server
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.identity import random_name
from ff_proxy.store.protocol import Store
from ff_proxy.store.redis import Endpoint, RedisStore, Topology
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import null_telemetry

_PREFIX = "ffp"


@dataclass(frozen=True, slots=True)
class Kept:
    """A place where data is kept.

    ``options`` names it to a proxy, ``open`` gives its store, ``megabytes`` says what it holds now: a file,
    or the process of Redis.
    """

    options: Mapping[str, str]
    open: Callable[[], AbstractAsyncContextManager[Store]]
    megabytes: Callable[[], float]


@contextmanager
def sqlite() -> Iterator[Kept]:
    """An empty data directory."""
    with TemporaryDirectory() as name:
        directory = Path(name)

        def opened() -> AbstractAsyncContextManager[Store]:
            return SqliteStore(directory, random_name(), SystemClock(), null_telemetry())

        def megabytes() -> float:
            return sum(file.stat().st_size for file in directory.iterdir()) / 1e6

        yield Kept({"data-dir": name}, opened, megabytes)


@contextmanager
def redis() -> Iterator[Kept]:
    """An empty Redis."""
    with redis_server() as server:
        endpoint = Endpoint(Topology.SINGLE, ((HOST, server.port),))

        def opened() -> AbstractAsyncContextManager[Store]:
            return RedisStore(endpoint, _PREFIX, random_name(), SystemClock(), null_telemetry())

        options = {"redis-address": f"{HOST}:{server.port}", "redis-prefix": _PREFIX}
        yield Kept(options, opened, lambda: server.resident() / 1e3)


Opened = Callable[[], AbstractContextManager[Kept]]


def kept_stores() -> Mapping[str, Opened]:
    """Those that this machine has the tools for, by name."""
    return {"SQLite": sqlite} | ({"Redis": redis} if which("redis-server") else {})
