"""Whether a snapshot is certainly as new as a store that others write to (spec/behaviour#read-your-writes).

An SDK fetches right after its event, from whichever member the load balancer picks. These checks make
sure that it does not find the state of before: they ask the store for the environment's revision, at most
once at a time and for a bounded time, and then catch up. While the store does not answer, what is held is
served.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ff_proxy.aio.keyed_locks import KeyedLocks
from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Revision
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import RECENT, Announcement, SnapshotRegistry
from ff_proxy.telemetry import Telemetry

CHECK_SECONDS: Final = 0.05

AskRevision = Callable[[EnvironmentId], Awaitable[Revision | None]]


class RevisionFreshness:
    """For a store on the network: every request that must not go back asks for the revision.

    Bulk reads ask for ``RECENT`` seconds after a change was noticed only: who polls in bulk without having
    been told of a change cannot tell a moment's delay.
    """

    def __init__(
        self, ask: AskRevision, snapshots: SnapshotRegistry, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._late = telemetry.metrics.checks_late
        self._ask = ask
        self._snapshots = snapshots
        self._clock = clock
        self._noticed: dict[EnvironmentId, float] = {}
        self._asking: KeyedLocks[EnvironmentId] = KeyedLocks()
        self._checks: dict[EnvironmentId, asyncio.Task[None]] = {}
        snapshots.listen(self._announced)

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        """Whether a request may be answered at once."""
        if not bulk:
            return False
        noticed = self._noticed.get(environment)
        return noticed is None or self._clock.monotonic() - noticed > RECENT

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> Callable[[], bool]:
        """``fresh``, to be asked again and again."""
        return lambda: self.fresh(environment, bulk=bulk)

    async def refresh(self, environment: EnvironmentId) -> None:
        """Catch up, or give up after ``CHECK_SECONDS``; requests at the same time share one check.

        One at a time is under way. A request that comes meanwhile shares the next: what was asked before it
        came may have been answered before the change that it was told of.
        """
        check = self._checks.get(environment)
        if check is None:
            check = self._checks[environment] = asyncio.create_task(self._check(environment))
        # Shielded: who leaves early must not end it for the others.
        await asyncio.shield(check)

    async def _check(self, environment: EnvironmentId) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                async with self._asking.held(environment):
                    del self._checks[environment]
                    await self._compare(environment)
        except (StoreError, TimeoutError):
            known = self._snapshots.get(environment) is not None
            self._late.labels(environment if known else "").inc()
        finally:
            if self._checks.get(environment) is asyncio.current_task():
                del self._checks[environment]

    async def _compare(self, environment: EnvironmentId) -> None:
        snapshot = self._snapshots.get(environment)
        revision = await self._ask(environment)
        if snapshot is None or (revision is not None and revision != snapshot.revision):
            await self._snapshots.refresh(environment)

    def _announced(self, announcement: Announcement) -> None:
        self._noticed[announcement.environment] = self._clock.monotonic()
