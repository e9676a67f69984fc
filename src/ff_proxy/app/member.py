"""A store that this process writes, and its role among the members that write it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ff_proxy.api.ports import AlwaysFresh, Freshness
from ff_proxy.app.process import ProcessContext
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.app.store import open_store, recovery_of
from ff_proxy.config.records import StoreOptions
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import Service
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.protocol import FleetMembers, StoreFacets
from ff_proxy.upstream.leadership import Leadership, SoleLeader
from ff_proxy.upstream.service import Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An open store, and this member's role in writing it.

    Args:
        store: the store.
        leadership: decides which environments this process synchronises, and whose usage it sends.
        freshness: makes the check of whether snapshots are as new as the store.
        services: makes the services for the store and its other members, given the upstream.
        readiness: returns the readiness of upstream and store.
        standalone: environments kept in this process's memory until the store answers.
        fleet: the members that share the store, if any.
    """

    store: StoreFacets
    leadership: Leadership
    freshness: Callable[[SnapshotRegistry], Freshness]
    services: Callable[[Upstream], Sequence[Service]]
    readiness: Callable[[Upstream], Readiness]
    standalone: Callable[[], frozenset[EnvironmentId]] = frozenset
    fleet: FleetMembers | None = None


@asynccontextmanager
async def open_sole_member(
    options: StoreOptions, context: ProcessContext, runtime: SharedRuntime | None
) -> AsyncIterator[Member]:
    """Open a store that no other proxy uses; ``runtime`` is shared with workers."""
    async with open_store(options, context, runtime=runtime) as store:
        recovery = recovery_of(store)

        def readiness(upstream: Upstream) -> Readiness:
            state = upstream.readiness()
            for one in recovery:
                state = one.merge_into(state)
            return state

        yield Member(
            store=store,
            leadership=SoleLeader(),
            freshness=lambda _: AlwaysFresh(),
            services=lambda _: recovery,
            readiness=readiness,
        )
