"""Metrics about each served environment: its size, revision and data age."""

import asyncio
from typing import Final

from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Domain
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.store.protocol import StatusReader
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.metrics import forget

_LOOK_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 2.0
# With many environments, poll less often: the store may be on the network.
_PER_SECOND: Final = 100


class EnvironmentMetrics:
    """The service that polls the data age of each environment.

    Sizes and revisions are updated on every snapshot swap, even while it is not running.
    """

    name = "environment metrics"

    def __init__(
        self, snapshots: SnapshotRegistry, statuses: StatusReader, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.ready = asyncio.Event()
        self._snapshots = snapshots
        self._statuses = statuses
        self._clock = clock
        self._metrics = telemetry.metrics
        self._ages: dict[EnvironmentId, float] = {}
        for environment, snapshot in snapshots.all().items():
            self._show(environment, snapshot)
        snapshots.listen(lambda announcement: self._show(announcement.environment, announcement.snapshot))

    @property
    def data_age(self) -> float | None:
        """Seconds since the stalest environment was in sync with Harness; ``None`` without an upstream."""
        return max(self._ages.values(), default=None)

    async def run(self) -> None:
        """Poll until cancelled."""
        self.ready.set()
        while True:
            await self.poll()
            await self._clock.sleep(max(_LOOK_SECONDS, len(self._ages) / _PER_SECOND))

    async def poll(self) -> None:
        """Poll once; while the store does not answer, the last known ages keep growing."""
        before = self._clock.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                statuses = await self._statuses.statuses()
        except (StoreError, TimeoutError):
            passed = _LOOK_SECONDS + self._clock.monotonic() - before
            ages = {name: age + passed for name, age in self._ages.items()}
        else:
            now = self._clock.wall()
            held = self._snapshots.all()
            ages = {name: status.data_age(now) for name, status in statuses.items() if name in held}
        for name in self._ages.keys() - ages.keys():
            forget(self._metrics.data_age, name)
        for name, age in ages.items():
            self._metrics.data_age.labels(name).set(age)
        self._ages = ages

    def _show(self, environment: EnvironmentId, snapshot: Snapshot | None) -> None:
        metrics = self._metrics
        each = (metrics.flags, metrics.segments, metrics.keys, metrics.revision)
        if snapshot is None:
            for metric in each:
                forget(metric, environment)
            return
        flags, segments = (len(snapshot.items(domain)) for domain in (Domain.FLAG, Domain.SEGMENT))
        sizes = flags, segments, len(snapshot.keys), snapshot.revision.counter
        for metric, size in zip(each, sizes, strict=True):
            metric.labels(environment).set(size)
