"""The store that the options name."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from ff_proxy.config.addresses import RedisTopology
from ff_proxy.config.records import (
    MemoryStoreOptions,
    RedisStoreOptions,
    SqliteStoreOptions,
    StoreOptions,
    TemporaryStoreOptions,
)
from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import Secret
from ff_proxy.model.time import Clock
from ff_proxy.runtime.identity import random_name
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import Store
from ff_proxy.store.redis import Endpoint, RedisStore, Topology
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import Telemetry

_STORE_SECONDS: Final = 1.0
_TOPOLOGIES: Final = {
    RedisTopology.SINGLE: Topology.SINGLE,
    RedisTopology.SOCKET: Topology.SOCKET,
    RedisTopology.CLUSTER: Topology.CLUSTER,
    RedisTopology.SENTINEL: Topology.SENTINEL,
}


@asynccontextmanager
async def open_store(
    options: StoreOptions, clock: Clock, telemetry: Telemetry, *, namespace: str = ""
) -> AsyncIterator[Store]:
    """The store, open; ``namespace`` keeps a mode's data apart from another's in the same place."""
    epoch = random_name()
    match options:
        case MemoryStoreOptions():
            async with MemoryStore(epoch, clock) as memory:
                yield memory
        case TemporaryStoreOptions():
            with tempfile.TemporaryDirectory(prefix="ff-proxy-") as directory:
                async with SqliteStore(Path(directory), epoch, clock, telemetry) as temporary:
                    yield temporary
        case SqliteStoreOptions(directory):
            name = f"ff-proxy-{namespace}" if namespace else "ff-proxy"
            async with SqliteStore(directory, epoch, clock, telemetry, name=name) as sqlite:
                yield sqlite
        case RedisStoreOptions():
            async with redis_store(options, clock, telemetry, namespace=namespace) as redis:
                yield redis


def redis_store(
    options: RedisStoreOptions, clock: Clock, telemetry: Telemetry, *, namespace: str = "", member: str = ""
) -> RedisStore:
    """The shared store, to be opened; ``member`` is the name under which it takes leases."""
    prefix = f"{options.prefix}:{namespace}" if namespace else options.prefix
    return RedisStore(endpoint(options), prefix, random_name(), clock, telemetry, member=member)


def endpoint(options: RedisStoreOptions) -> Endpoint:
    """Where the options say that Redis is."""
    address = options.address
    return Endpoint(
        topology=_TOPOLOGIES[address.topology],
        nodes=tuple((node.host, node.port) for node in address.nodes),
        socket="" if address.socket is None else str(address.socket),
        service=address.service,
        tls=address.tls,
        username=options.username,
        password=options.password,
        database=options.database,
    )


async def kept_secret(store: Store, clock: Clock, telemetry: Telemetry) -> Secret:
    """The signing secret of a store that outlives the process, waited for (PRODUCT §6.1).

    Without it no token can be issued or verified, so there is nothing to serve before it is there.
    """
    once = telemetry.once("store")
    while True:
        try:
            return await store.secrets.auth_secret(Secret(random_name()))
        except StoreUnavailable as error:
            once.warning("waiting for the store", error=str(error))
            await clock.sleep(_STORE_SECONDS)
