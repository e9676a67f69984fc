"""What stands behind a serving process: a store of its own, or a fleet's."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ff_proxy.config.records import RedisStoreOptions, StoreOptions
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.time import Clock
from ff_proxy.modes.common import Common
from ff_proxy.modes.stores import NOWHERE, open_store
from ff_proxy.runtime.identity import random_name
from ff_proxy.runtime.services import Service
from ff_proxy.store.protocol import Store
from ff_proxy.store.snapshots import Snapshots
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.leadership import Leadership, SoleLeader
from ff_proxy.upstream.service import Upstream
from ff_proxy.web.needs import AlwaysFresh, Freshness


@dataclass(frozen=True, slots=True)
class Backing:
    """A store, and this process's part in who else uses it.

    ``leads`` says which environments this process sends usage for. Given the upstream, ``services`` makes
    what keeps the store's side going, and ``readiness`` says how far both sides have come.
    """

    store: Store
    leadership: Leadership
    leads: Callable[[EnvironmentId], bool]
    freshness: Callable[[Snapshots], Freshness]
    services: Callable[[Upstream], Sequence[Service]]
    readiness: Callable[[Upstream], Readiness]


@asynccontextmanager
async def open_backing(
    options: StoreOptions, clock: Clock, telemetry: Telemetry, common: Common | None = None
) -> AsyncIterator[Backing]:
    """The backing that the options name, open; ``common`` is what we share with other processes of ours."""
    if isinstance(options, RedisStoreOptions):
        # Its client costs megabytes that nobody else should pay.
        from ff_proxy.modes.shared import open_fleet  # noqa: PLC0415  (see above)

        member = random_name() if common is None else common.member
        async with open_fleet(options, clock, telemetry, member) as fleet:
            yield fleet
    else:
        temporary = NOWHERE if common is None else common.directory
        async with open_store(options, clock, telemetry, temporary=temporary) as own:
            yield Backing(
                own,
                SoleLeader(),
                leads=lambda _: True,
                freshness=lambda _: AlwaysFresh(),
                services=lambda _: [],
                readiness=lambda upstream: upstream.readiness(),
            )
