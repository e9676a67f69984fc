"""Backends on Redis, which a fleet shares; imported only where Redis is used."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from ff_proxy.api.ports import Freshness, LoadedEnvironments, LoadedKeys
from ff_proxy.app.backend import Backend, ServedStore, Source
from ff_proxy.app.beside_sync import sync_source
from ff_proxy.app.member import Member
from ff_proxy.app.process import ProcessContext
from ff_proxy.app.redis_store import redis_store
from ff_proxy.app.roles import RedisWorker
from ff_proxy.config.records import RedisStoreOptions, ReplicaOptions
from ff_proxy.ipc import IpcStore
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import FunctionService
from ff_proxy.snapshots.freshness import RevisionFreshness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.fleet_health import FleetHealth
from ff_proxy.store.protocol import RegistrationIngest, SecretStore, Targets, UsageIngest
from ff_proxy.store.redis import ConfigsBesideSync, LeaderElection, RedisStore
from ff_proxy.upstream.service import Upstream


@asynccontextmanager
async def open_fleet_member(
    options: RedisStoreOptions, context: ProcessContext, name: str
) -> AsyncIterator[Member]:
    """Open the store of a member that follows Harness for the environments it leads."""
    clock, telemetry = context.clock, context.telemetry
    async with redis_store(options, context, member=name) as store:
        leadership = LeaderElection(store.leases, store.configs, store.bus, clock, telemetry)
        health = FleetHealth(store.configs, clock)

        def readiness(upstream: Upstream) -> Readiness:
            followed = [name for name in upstream.environments() if not leadership.leads(name)]
            return store.recovery.merge_into(health.merge_into(upstream.readiness(), followed))

        yield Member(
            store=store,
            leadership=leadership,
            freshness=lambda snapshots: _freshness(store, snapshots, context),
            services=lambda upstream: [
                store.recovery,
                health,
                FunctionService(
                    "fleet bus", partial(store.bus.listen, upstream.accept_forwarded, leadership.freed)
                ),
                FunctionService("lost writes", partial(store.lost_writes.listen, upstream.refetch, clock)),
            ],
            readiness=readiness,
            standalone=store.configs.standalone,
            fleet=store.members,
        )


async def open_replica(
    options: ReplicaOptions, context: ProcessContext, stack: AsyncExitStack, *, name: str = ""
) -> Backend[RedisStore]:
    """The backend of a read replica: Redis, written by other members; ``name`` is its name in the fleet."""
    store = await stack.enter_async_context(redis_store(options.store, context, member=name))
    health = FleetHealth(store.configs, context.clock)

    def follow(loaded: LoadedEnvironments) -> Source:
        def readiness() -> Readiness:
            state = health.merge_into(Readiness(loaded=len(loaded.names)), loaded.names)
            return store.recovery.merge_into(state)

        return Source(
            services=[store.recovery, health],
            readiness=readiness,
            environments=lambda: loaded.names,
            key_checker=LoadedKeys(loaded),
        )

    return Backend(
        store=store,
        freshness=lambda snapshots: _freshness(store, snapshots, context),
        follow=follow,
        members=store.members,
    )


async def open_redis_beside_sync(
    role: RedisWorker, context: ProcessContext, stack: AsyncExitStack
) -> Backend[ServedStore]:
    """The backend of a worker: Redis, and the sync process for state that is not in Redis."""
    runtime = role.runtime
    redis = await stack.enter_async_context(redis_store(role.store, context))
    sync = await stack.enter_async_context(
        IpcStore(
            runtime.socket, runtime.generations, context.clock, context.shares, context.telemetry.dropped
        )
    )
    configs = ConfigsBesideSync(redis.configs, sync.configs, lambda: sync.standalone)

    def follow(loaded: LoadedEnvironments) -> Source:
        source = sync_source(sync, loaded, runtime.generations, context)
        return replace(
            source,
            services=[*source.services, redis.recovery],
            readiness=lambda: redis.recovery.merge_into(source.readiness()),
        )

    return Backend(
        store=_StoreBesideSync(configs, redis.targets, redis.usage, redis.registrations, redis.secrets),
        freshness=lambda snapshots: RevisionFreshness(
            configs.revision, snapshots, context.clock, context.telemetry
        ),
        follow=follow,
    )


@dataclass(frozen=True, slots=True)
class _StoreBesideSync:
    configs: ConfigsBesideSync
    targets: Targets
    usage: UsageIngest
    registrations: RegistrationIngest
    secrets: SecretStore


def _freshness(store: RedisStore, snapshots: SnapshotRegistry, context: ProcessContext) -> Freshness:
    return RevisionFreshness(store.configs.revision, snapshots, context.clock, context.telemetry)
