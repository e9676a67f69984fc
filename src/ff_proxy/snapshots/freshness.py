"""Whether a snapshot is as new as a store that others write to (spec/behaviour#read-your-writes).

An SDK fetches right after an event, from whichever member the load balancer picks. These checks keep it from
getting older data than the event announced: they read the environment's revision from the store, one read at
a time and with a timeout, and then catch up. If the store does not answer, the current snapshot is served.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ff_proxy.aio.keyed_locks import KeyedLocks
from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Revision
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import REPLAY_SECONDS, Announcement, SnapshotRegistry
from ff_proxy.telemetry import Telemetry

CHECK_SECONDS: Final = 0.05

ReadRevision = Callable[[EnvironmentId], Awaitable[Revision | None]]


class RevisionFreshness:
    """For a store on the network: every request that must not get older data checks the revision.

    Bulk reads check only for ``REPLAY_SECONDS`` after a change: an SDK that polls without an event cannot
    notice a short delay.
    """

    def __init__(
        self, read_revision: ReadRevision, snapshots: SnapshotRegistry, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._timeouts = telemetry.metrics.checks_late
        self._read_revision = read_revision
        self._snapshots = snapshots
        self._clock = clock
        self._last_change: dict[EnvironmentId, float] = {}
        self._locks: KeyedLocks[EnvironmentId] = KeyedLocks()
        self._checks: dict[EnvironmentId, asyncio.Task[None]] = {}
        snapshots.listen(self._announced)

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        """Whether a request may be answered without a check."""
        if not bulk:
            return False
        last_change = self._last_change.get(environment)
        return last_change is None or self._clock.monotonic() - last_change > REPLAY_SECONDS

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> Callable[[], bool]:
        """A function for repeated checks of ``fresh``."""
        return lambda: self.fresh(environment, bulk=bulk)

    async def refresh(self, environment: EnvironmentId) -> None:
        """Catch up, or give up after ``CHECK_SECONDS``; concurrent requests share one check.

        Only one check runs at a time. A request that arrives meanwhile shares the next one, because the
        running check may have read the revision before the change that the SDK was notified of.
        """
        check = self._checks.get(environment)
        if check is None:
            check = self._checks[environment] = asyncio.create_task(self._check(environment))
        # Shielded: a cancelled request must not cancel the check for the others.
        await asyncio.shield(check)

    async def _check(self, environment: EnvironmentId) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                async with self._locks.held(environment):
                    del self._checks[environment]
                    await self._compare(environment)
        except (StoreError, TimeoutError):
            known = self._snapshots.get(environment) is not None
            self._timeouts.labels(environment if known else "").inc()
        finally:
            if self._checks.get(environment) is asyncio.current_task():
                del self._checks[environment]

    async def _compare(self, environment: EnvironmentId) -> None:
        snapshot = self._snapshots.get(environment)
        revision = await self._read_revision(environment)
        if snapshot is None or (revision is not None and revision != snapshot.revision):
            await self._snapshots.refresh(environment)

    def _announced(self, announcement: Announcement) -> None:
        self._last_change[announcement.environment] = self._clock.monotonic()
