"""The store that the options name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from ff_proxy.config.records import (
    MemoryStoreOptions,
    RedisStoreOptions,
    SqliteStoreOptions,
    StoreOptions,
    TemporaryStoreOptions,
)
from ff_proxy.model.clock import Clock
from ff_proxy.model.memory import MemoryShares
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.random_names import random_name
from ff_proxy.runtime.services import Service
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import Store
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import Telemetry

NOWHERE: Final = Path("/nonexistent")


@asynccontextmanager
async def open_store(
    options: StoreOptions,
    shares: MemoryShares,
    clock: Clock,
    telemetry: Telemetry,
    *,
    namespace: str = "",
    temporary: Path = NOWHERE,
) -> AsyncIterator[Store]:
    """The store, open; ``namespace`` keeps a mode's data apart from another's in the same place.

    ``temporary`` is the directory of ``TemporaryStoreOptions``, whose processes share it.
    """
    epoch = random_name()
    match options:
        case MemoryStoreOptions():
            async with MemoryStore(epoch, clock, shares=shares, dropped=telemetry.dropped) as memory:
                yield memory
        case TemporaryStoreOptions() | SqliteStoreOptions():
            directory = options.directory if isinstance(options, SqliteStoreOptions) else temporary
            name = f"ff-proxy-{namespace}" if namespace else "ff-proxy"
            async with SqliteStore(directory, epoch, clock, telemetry, name=name, shares=shares) as sqlite:
                yield sqlite
        case RedisStoreOptions():
            # Its client costs megabytes that nobody else should pay.
            from ff_proxy.app.redis import redis_store  # noqa: PLC0415  (see above)

            async with redis_store(options, shares, clock, telemetry, namespace=namespace) as redis:
                yield redis


@runtime_checkable
class Recovery(Service, Protocol):
    """What a store that is not memory needs to be run for it, and to say whether it is of use."""

    def merge_into(self, readiness: Readiness) -> Readiness:
        """``readiness``, degraded if the store is not of use."""
        ...


def recovery_of(store: Store) -> Sequence[Recovery]:
    """The store's own service, if it has one."""
    found = getattr(store, "recovery", None)
    return [found] if isinstance(found, Recovery) else []
