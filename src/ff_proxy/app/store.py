"""Opens the configured store."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Protocol, runtime_checkable

from ff_proxy.app.process import ProcessContext
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.config.records import (
    MemoryStoreOptions,
    RedisStoreOptions,
    SqliteStoreOptions,
    StoreOptions,
    TemporaryStoreOptions,
)
from ff_proxy.errors import StartupError
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import Service
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import Store
from ff_proxy.store.sqlite import SqliteStore


@asynccontextmanager
async def open_store(
    options: StoreOptions,
    context: ProcessContext,
    *,
    namespace: str = "",
    runtime: SharedRuntime | None = None,
) -> AsyncIterator[Store]:
    """Open the store; ``namespace`` separates a mode's data from another mode's in the same place.

    ``runtime`` has the directory for a temporary store, which ends with the proxy but outlives its processes.
    """
    epoch, clock, shares, telemetry = token_hex(16), context.clock, context.shares, context.telemetry
    match options:
        case MemoryStoreOptions():
            async with MemoryStore(epoch, clock, shares=shares, dropped=telemetry.dropped) as memory:
                yield memory
        case TemporaryStoreOptions() | SqliteStoreOptions():
            directory = _directory(options, runtime)
            name = f"ff-proxy-{namespace}" if namespace else "ff-proxy"
            async with SqliteStore(directory, epoch, clock, telemetry, name=name, shares=shares) as sqlite:
                yield sqlite
        case RedisStoreOptions():
            # The client takes megabytes that other stores do not need.
            from ff_proxy.app.redis_store import redis_store  # noqa: PLC0415  (see above)

            async with redis_store(options, context, namespace=namespace) as redis:
                yield redis


def _directory(options: TemporaryStoreOptions | SqliteStoreOptions, runtime: SharedRuntime | None) -> Path:
    if isinstance(options, SqliteStoreOptions):
        return options.directory
    if runtime is None:
        raise StartupError("a temporary store needs several workers; set workers or data-dir")
    return runtime.directory


@runtime_checkable
class Recovery(Service, Protocol):
    """The service of a store that can fail; also says whether the store is usable."""

    def merge_into(self, readiness: Readiness) -> Readiness:
        """Return ``readiness``, degraded if the store is not usable."""
        ...


def recovery_of(store: Store) -> Sequence[Recovery]:
    """The store's own service, if it has one."""
    recovery = getattr(store, "recovery", None)
    return [recovery] if isinstance(recovery, Recovery) else []
