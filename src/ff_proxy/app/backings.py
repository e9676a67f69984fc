"""Opening what stands behind a serving process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ff_proxy.api.ports import AlwaysFresh
from ff_proxy.app.backing import Backing
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.app.stores import NOWHERE, open_store, recovery_of
from ff_proxy.config.records import RedisStoreOptions, StoreOptions
from ff_proxy.model.clock import Clock
from ff_proxy.model.memory import MemoryShares
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.random_names import random_name
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.leadership import SoleLeader
from ff_proxy.upstream.service import Upstream


@asynccontextmanager
async def open_backing(
    options: StoreOptions,
    shares: MemoryShares,
    clock: Clock,
    telemetry: Telemetry,
    common: SharedRuntime | None = None,
) -> AsyncIterator[Backing]:
    """The backing that the options name, open; ``common`` is what we share with other processes of ours."""
    if isinstance(options, RedisStoreOptions):
        # Its client costs megabytes that nobody else should pay.
        from ff_proxy.app.redis import open_fleet  # noqa: PLC0415  (see above)

        member = random_name() if common is None else common.member
        async with open_fleet(options, shares, clock, telemetry, member) as fleet:
            yield fleet
    else:
        temporary = NOWHERE if common is None else common.directory
        async with open_store(options, shares, clock, telemetry, temporary=temporary) as own:
            recovery = recovery_of(own)

            def readiness(upstream: Upstream) -> Readiness:
                found = upstream.readiness()
                for one in recovery:
                    found = one.merge_into(found)
                return found

            yield Backing(
                own,
                SoleLeader(),
                leads=lambda _: True,
                freshness=lambda _: AlwaysFresh(),
                services=lambda _: recovery,
                readiness=readiness,
            )
