"""The store that a fleet shares, and a member's part in the fleet; imported only where Redis is used."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ff_proxy.app.backing import Backing
from ff_proxy.app.process_setup import make_trust
from ff_proxy.config.addresses import RedisTopology
from ff_proxy.config.records import RedisStoreOptions
from ff_proxy.model.clock import Clock
from ff_proxy.model.memory import MemoryShares
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.random_names import random_name
from ff_proxy.snapshots.freshness import RevisionFreshness
from ff_proxy.store.fleet_health import FleetHealth
from ff_proxy.store.redis import (
    Endpoint,
    FleetBusListener,
    FleetLeadership,
    LostWriteListener,
    RedisStore,
    Topology,
)
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.service import Upstream

_TOPOLOGIES: Final = {
    RedisTopology.SINGLE: Topology.SINGLE,
    RedisTopology.SOCKET: Topology.SOCKET,
    RedisTopology.CLUSTER: Topology.CLUSTER,
    RedisTopology.SENTINEL: Topology.SENTINEL,
}


@asynccontextmanager
async def open_fleet(
    options: RedisStoreOptions, shares: MemoryShares, clock: Clock, telemetry: Telemetry, member: str
) -> AsyncIterator[Backing]:
    """The backing of a member that talks to SaaS whenever it leads."""
    async with redis_store(options, shares, clock, telemetry, member=member) as store:
        leadership = FleetLeadership(store, clock, telemetry)
        fleet_health = FleetHealth(store.configs, clock)

        def readiness(upstream: Upstream) -> Readiness:
            followed = [name for name in upstream.environments() if not leadership.leads(name)]
            known = fleet_health.merge_into(upstream.readiness(), followed)
            return store.recovery.merge_into(known)

        yield Backing(
            store,
            leadership,
            leads=leadership.leads,
            freshness=lambda snapshots: RevisionFreshness(
                store.configs.revision, snapshots, clock, telemetry
            ),
            services=lambda upstream: [
                store.recovery,
                fleet_health,
                FleetBusListener(store.hints, upstream.accept_forwarded, leadership.freed),
                LostWriteListener(store.lost_writes, upstream.refetch, clock),
            ],
            readiness=readiness,
            others=store.secrets.others,
            bound=store.secrets.bound,
            signed_with=store.secrets.signed_with,
            standalone=store.configs.standalone,
        )


def redis_store(
    options: RedisStoreOptions,
    shares: MemoryShares,
    clock: Clock,
    telemetry: Telemetry,
    *,
    namespace: str = "",
    member: str = "",
) -> RedisStore:
    """The shared store, to be opened; ``member`` is the name under which it takes leases.

    Who takes none has a name as well: without one it would write environments that others lead.
    """
    prefix = f"{options.prefix}:{namespace}" if namespace else options.prefix
    name = member or random_name()
    return RedisStore(
        endpoint(options, telemetry),
        prefix,
        random_name(),
        clock,
        telemetry,
        member=name,
        shares=shares,
    )


def endpoint(options: RedisStoreOptions, telemetry: Telemetry) -> Endpoint:
    """Where the options say that Redis is; raises ``StartupError`` if no certificate can be checked."""
    address = options.address
    return Endpoint(
        topology=_TOPOLOGIES[address.topology],
        nodes=tuple((node.host, node.port) for node in address.nodes),
        socket="" if address.socket is None else str(address.socket),
        service=address.service,
        trust=make_trust(telemetry) if address.tls else None,
        username=options.username,
        password=options.password,
        database=options.database,
    )
