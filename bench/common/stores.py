"""Stores that are filled before, or without, a proxy that uses them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from shutil import which
from tempfile import TemporaryDirectory

from bench.common.processes import HOST
from bench.common.redis import redis_server
from ff_proxy.model.redis import Topology
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import Store
from ff_proxy.store.redis import Endpoint, RedisStore
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import null_telemetry

MEMORY, SQLITE, REDIS = "memory", "SQLite", "Redis"
_PREFIX = "ffp"


def store(kind: str, place: str) -> Store:
    """A store, to be opened; ``place`` is a directory for SQLite and a port for Redis."""
    clock, telemetry, epoch = SystemClock(), null_telemetry(), token_hex(16)
    if kind == SQLITE:
        return SqliteStore(Path(place), epoch, clock, telemetry)
    if kind == REDIS:
        endpoint = Endpoint(Topology.SINGLE, ((HOST, int(place)),))
        return RedisStore(endpoint, _PREFIX, epoch, clock, telemetry)
    return MemoryStore(epoch, clock)


@dataclass(frozen=True, slots=True)
class Kept:
    """Where data is kept outside of a process.

    ``options`` names it to a proxy, ``kind`` and ``place`` to ``store``; ``megabytes`` says what it holds:
    a file, or the process of Redis.
    """

    kind: str
    place: str
    options: Mapping[str, str]
    megabytes: Callable[[], float]


@contextmanager
def _sqlite() -> Iterator[Kept]:
    with TemporaryDirectory() as name:

        def megabytes() -> float:
            return sum(file.stat().st_size for file in Path(name).iterdir()) / 1e6

        yield Kept(SQLITE, name, {"data-dir": name}, megabytes)


@contextmanager
def _redis() -> Iterator[Kept]:
    with redis_server() as server:
        options = {"redis-address": f"{HOST}:{server.port}", "redis-prefix": _PREFIX}
        yield Kept(REDIS, str(server.port), options, lambda: server.resident() / 1e3)


Opened = Callable[[], AbstractContextManager[Kept]]


def kept_stores() -> Mapping[str, Opened]:
    """Empty ones of each kind that this machine has the tools for."""
    return {SQLITE: _sqlite} | ({REDIS: _redis} if which("redis-server") else {})
