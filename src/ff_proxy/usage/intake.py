"""Where web hands in what SDKs post: merged in memory, and in the store half a second later."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.pause import sleep_unless
from ff_proxy.store.protocol import UsageIngest
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.sdk_metrics import SdkCounter
from ff_proxy.usage.steps import finish
from ff_proxy.usage.write_buffer import Batch, WriteBuffer
from ff_proxy.wire.usage import UsageBody, UsageReport

_AT_ONCE_BYTES: Final = 64 * 1024
_SLICE: Final = 200
_BATCH: Final = 1000
_GRACE: Final = 5.0
_MILLISECONDS: Final = 1000
_TROUBLE: Final = "store does not take usage, kept in memory"


class Intake(Protocol):
    """What web sees."""

    def submit(self, environment: EnvironmentId, body: bytes) -> None:
        """Take a posted body of ``environment``; it never waits.

        Raises ``RequestError`` 400 if the body cannot be read, and nothing else.
        """
        ...


class UsageIntake:
    """Merges what SDKs post and hands it to the store's queue within ``interval`` seconds.

    Small bodies are read at once, large ones slice by slice between other work, so that no post of tens
    of megabytes holds up the event loop. What finds no room is dropped and counted.

    Args:
        queue: where counts wait for SaaS.
        clock: time.
        telemetry: told of SDKs seen and entries dropped.
        interval: seconds that a count may be in this process only (PRODUCT §5: lost on ``kill -9``).
        capacity: entries that are merged in memory at most; a tenth of it makes a flush due at once.
        max_bytes: bytes of merged entries, and of large bodies that wait to be read.
    """

    name = "usage intake"

    def __init__(
        self,
        queue: UsageIngest,
        clock: Clock,
        telemetry: Telemetry,
        *,
        interval: float = 0.5,
        capacity: int = 50_000,
        max_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.ready = asyncio.Event()
        self._queue = queue
        self._clock = clock
        self._dropped = telemetry.metrics.usage_dropped
        self._sdks = SdkCounter(telemetry.metrics.sdk_usage)
        self._once = telemetry.once("usage")
        self._interval = interval
        self._large = capacity // 10
        self._max_bytes = max_bytes
        self._buffer = WriteBuffer(capacity, max_bytes)
        self._backlog: deque[tuple[EnvironmentId, Iterator[UsageReport], int]] = deque()
        self._backlog_bytes = 0
        self._something = asyncio.Event()
        self._much = asyncio.Event()
        self._flushing = asyncio.Lock()

    def submit(self, environment: EnvironmentId, body: bytes) -> None:
        """See ``Intake``."""
        opened = UsageBody(body, environment, int(self._clock.wall() * _MILLISECONDS))
        if len(body) > _AT_ONCE_BYTES:
            self._queue_up(environment, opened, len(body))
        else:
            self._count_sdk(environment, opened)
            for report in opened.reports(_SLICE):
                self._take(environment, report)

    async def run(self) -> None:
        """Move counts into the store until cancelled; ``flush`` afterwards moves the last of them."""
        self.ready.set()
        while True:
            await self._something.wait()
            await sleep_unless(self._much, self._clock, self._interval)
            if not await finish(self.flush(), _GRACE):
                await self._clock.sleep(self._interval)

    async def flush(self) -> bool:
        """Move everything into the store; ``False`` if the store did not take it (it is kept then)."""
        async with self._flushing:
            self._something.clear()
            self._much.clear()
            await self._read_backlog()
            waiting = deque(self._buffer.drain(_BATCH))
            try:
                while waiting:
                    batch = waiting[0]
                    dropped = await self._queue.merge(batch.counts, batch.targets)
                    waiting.popleft()
                    self._drop(batch.environment, "no room", dropped)
                    await asyncio.sleep(0)  # a store in memory would let nobody else in between
            except StoreError as error:
                self._once.warning(_TROUBLE, error=str(error))
                return False
            finally:
                self._put_back(waiting)
        self._once.forget(_TROUBLE)
        return True

    def _queue_up(self, environment: EnvironmentId, opened: UsageBody, size: int) -> None:
        if self._backlog_bytes + size > self._max_bytes:
            self._drop(environment, "no room", opened.entries)
            return
        self._count_sdk(environment, opened)
        self._backlog_bytes += size
        self._backlog.append((environment, opened.reports(_SLICE), size))
        self._something.set()
        self._much.set()

    async def _read_backlog(self) -> None:
        while self._backlog:
            environment, reports, size = self._backlog[0]
            for report in reports:
                self._take(environment, report)
                await asyncio.sleep(0)
            self._backlog.popleft()
            self._backlog_bytes -= size

    def _take(self, environment: EnvironmentId, report: UsageReport) -> None:
        self._drop(environment, "bad", report.bad)
        self._drop(environment, "no room", self._buffer.add(report.counts, report.targets))
        if len(self._buffer):
            self._something.set()
        if len(self._buffer) >= self._large:
            self._much.set()

    def _put_back(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            self._drop(batch.environment, "no room", self._buffer.put_back(batch))
            self._something.set()

    def _drop(self, environment: EnvironmentId, reason: str, entries: int) -> None:
        if entries:
            self._dropped.labels(environment, reason).inc(entries)
            self._once.warning("usage entries dropped", environment, reason=reason, entries=entries)

    def _count_sdk(self, environment: EnvironmentId, opened: UsageBody) -> None:
        self._sdks.count(environment, next(opened.reports(1)).sdk)


class NullIntake:
    """Takes posts as ``UsageIntake`` does and keeps nothing: offline, and with METRIC_POST_DURATION 0."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._sdks = SdkCounter(telemetry.metrics.sdk_usage)

    def submit(self, environment: EnvironmentId, body: bytes) -> None:
        """See ``Intake``."""
        self._sdks.count(environment, next(UsageBody(body, environment, 0).reports(1)).sdk)
