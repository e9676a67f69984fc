"""Accepting the usage that SDKs post: merged in memory, and stored within half a second."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, Protocol
from uuid import uuid4

import msgspec

from ff_proxy.aio.waits import sleep_unless
from ff_proxy.errors import RequestError, StoreRefused
from ff_proxy.model.clock import Clock, milliseconds
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.usage import UsageCount, UsageEntries
from ff_proxy.store.protocol import UsageIngest, UsageLease
from ff_proxy.store.usage_buffer import UsageBuffer
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.sdk_metrics import SdkCounter
from ff_proxy.usage.store_writer import StoreWriter
from ff_proxy.wire.usage import SdkLabels, UsageReport
from ff_proxy.wire.usage_reader import UsageKeys, UsageReader, steps

_BATCH: Final = 1000
# Entries of a post are deferred until its end, so that a post that is cut off and sent again counts once.
# This part of the budget is for deferred entries.
_DEFERRED_PART: Final = 4
# When a tenth of the buffer has arrived, flush at once; when half is used, large posts wait for a flush.
_FLUSH_PART: Final = 10
_BACKPRESSURE_PART: Final = 2
# The part of the budget for keys of counts that SDKs send again and again.
_KEYS_PART: Final = 8
_ROOM_SECONDS: Final = 2.0
_UNKNOWN_SDK: Final = SdkLabels()


CountSource = Callable[[], Iterable[tuple[EnvironmentId, Iterable[UsageCount]]]]
"""Returns the counts since the last call, by environment."""


class Intake(Protocol):
    """Accepts usage for ``api``."""

    async def receive(self, environment: EnvironmentId, pieces: AsyncIterator[bytes]) -> None:
        """Parse a posted body of ``environment`` as it arrives, yielding to the event loop between steps.

        Raises ``RequestError`` 400 if the body cannot be read, and what ``pieces`` raises.
        """
        ...

    def pull(self, source: CountSource) -> Callable[[], None] | None:
        """Call ``source`` for counts of this process before counts are stored.

        Returns a function to call when ``source`` has some; ``None`` if such counts are not wanted.
        """
        ...


class UsageIntake:
    """Merges what SDKs post and moves it to the store's queue within ``interval`` seconds.

    Entries that exceed the budget are dropped and counted.

    Args:
        queue: the store's queue.
        clock: time.
        telemetry: counts SDKs and dropped entries.
        interval: seconds that a count may be only in this process, where ``kill -9`` loses it
        (spec/behaviour#goals).
        budget: bytes of merged entries in memory.
        local_counts: whether evaluations made in this process count as well.

    Attributes:
        writer: writes to the store, and reports whether that accepts it.
    """

    name = "usage intake"

    def __init__(
        self,
        queue: UsageIngest,
        clock: Clock,
        telemetry: Telemetry,
        *,
        interval: float = 0.5,
        budget: int = LEAST_SHARES.usage_buffer,
        local_counts: bool = True,
    ) -> None:
        self.ready = asyncio.Event()
        self._queue = queue
        self._clock = clock
        self._dropped = telemetry.metrics.usage_dropped
        self._sdks = SdkCounter(telemetry.metrics.sdk_usage)
        self._once = telemetry.once("usage")
        queued = telemetry.metrics.queued.labels("usage")
        telemetry.sampler.add(lambda: queued.set(sum(self._buffer.pending().values())))
        self._interval = interval
        self._flush_bytes = budget // _FLUSH_PART
        self._backpressure_bytes = budget // _BACKPRESSURE_PART
        self._deferred_room = budget // _DEFERRED_PART
        self._buffer = UsageBuffer(budget - budget // _DEFERRED_PART - budget // _KEYS_PART)
        self._keys = UsageKeys(budget // _KEYS_PART)
        self._arrived_bytes = 0
        self._flush_now = asyncio.Event()
        self._room = asyncio.Event()
        self._name = uuid4().hex
        # What was taken from the buffer and is not in the store yet, or perhaps not.
        self._unstored: defaultdict[EnvironmentId, deque[_Batch]] = defaultdict(deque)
        self.writer: Final = StoreWriter(
            "usage", lambda: self._buffer.waiting | self._unstored.keys(), self._store, clock, telemetry
        )
        self._local_counts = local_counts
        self._sources: list[CountSource] = []

    async def receive(self, environment: EnvironmentId, pieces: AsyncIterator[bytes]) -> None:
        """See ``Intake``."""
        post = _Post(UsageReader(environment, milliseconds(self._clock), self._keys), environment)
        deferred = 0
        try:
            async for report in post.reports(pieces):
                size = report.weight
                if self._deferred_room >= size:
                    self._deferred_room -= size
                    deferred += size
                    post.deferred.append(report)
                else:
                    await self._merge_reports(post, [*post.deferred, report])
                    post.deferred.clear()
            self._sdks.count(environment, post.sdk)
            await self._merge_reports(post, post.deferred)
        except RequestError as refusal:
            if refusal.status == 400:  # noqa: PLR2004  (the client's fault)
                self._drop(environment, "unreadable", 1)
            raise
        finally:
            self._deferred_room += deferred

    def pull(self, source: CountSource) -> Callable[[], None] | None:
        """See ``Intake``."""
        if not self._local_counts:
            return None
        self._sources.append(source)
        return self.writer.arrived.set

    async def run(self) -> None:
        """Move counts into the store until cancelled; call ``last_flush`` for the rest."""
        self.ready.set()
        await self.writer.run(self._wait_for_more)

    async def _wait_for_more(self) -> None:
        await sleep_unless(self._flush_now, self._clock, self._interval)
        self._pull_counts()

    async def flush(self) -> bool:
        """Move everything into the store; ``False`` if the store failed and the rest is still here."""
        self._pull_counts()
        return await self.writer.flush()

    async def last_flush(self, seconds: float) -> None:
        """Flush for up to ``seconds``; the rest is lost with the process, and counted."""
        self._pull_counts()
        await self.writer.last_flush(seconds)
        for environment, entries in self._buffer.pending().items():
            batches = self._unstored.get(environment)
            done = len(batches[0].lease) - sum(map(len, batches)) if batches else 0
            self._drop(environment, "not stored at the end", entries - done)

    def _pull_counts(self) -> None:
        for source in self._sources:
            for environment, counts in source():
                self._merge(environment, UsageReport(tuple(counts), (), _UNKNOWN_SDK, 0))
        self._arrived_bytes = 0
        self._flush_now.clear()

    async def _store(self, environment: EnvironmentId) -> None:
        """Store an environment's entries; raises ``StoreError``.

        Then the first batch may be stored already: it goes again as it was, and the store can tell.
        """
        batches = self._unstored[environment]
        left = self._buffer.pending().get(environment, 0)  # later ones wait for the next time
        while True:
            if not batches:
                lease = self._buffer.take(environment, _BATCH) if left > 0 else None
                if lease is None:
                    break
                batches.append(_Batch(lease.counts, lease.targets, lease, f"{self._name}.{lease.id}"))
            batch = batches[0]
            try:
                dropped = await self._queue.merge(batch.counts, batch.targets, name=batch.name)
            except StoreRefused:
                batches.popleft()
                if len(batch) > 1:
                    batches.extendleft(reversed(batch.halves()))
                else:
                    self._drop(environment, "bad", 1)
            else:
                batches.popleft()
                self._drop(environment, "no room", dropped)
            if not batches:
                self._buffer.settle(batch.lease)
                self._room.set()
                left -= len(batch.lease)
            await asyncio.sleep(0)  # a store in memory never yields
        del self._unstored[environment]

    async def _merge_reports(self, post: "_Post", reports: Iterable[UsageReport]) -> None:
        """Merge reports, yielding to the event loop in between; large posts wait a moment for room."""
        for report in reports:
            if post.waits_for_room and self._buffer.spent > self._backpressure_bytes:
                self._room.clear()
                self._flush_now.set()
                await sleep_unless(self._room, self._clock, _ROOM_SECONDS)
                post.waits_for_room = self._room.is_set()
            elif post.large:
                await asyncio.sleep(0)
            self._merge(post.environment, report)

    def _merge(self, environment: EnvironmentId, report: UsageReport) -> None:
        before = self._buffer.spent
        added = self._buffer.add(report.counts, report.targets)
        self._drop(environment, "bad", report.bad)
        self._drop(environment, "no room", len(report) - len(added))
        if added:
            self.writer.arrived.set()
        self._arrived_bytes += self._buffer.spent - before
        if self._arrived_bytes >= self._flush_bytes:
            self._flush_now.set()

    def _drop(self, environment: EnvironmentId, reason: str, entries: int) -> None:
        if entries:
            self._dropped.labels(environment, reason).inc(entries)
            self._once.warning("usage entries dropped", environment, reason=reason, entries=entries)


class NullIntake:
    """Accepts posts and discards them: for offline mode and METRIC_POST_DURATION 0.

    ``budget`` is the same as ``UsageIntake``'s, which it needs a part of.
    """

    def __init__(self, telemetry: Telemetry, *, budget: int = LEAST_SHARES.usage_buffer) -> None:
        self._sdks = SdkCounter(telemetry.metrics.sdk_usage)
        self._dropped = telemetry.metrics.usage_dropped
        self._keys = UsageKeys(budget // _KEYS_PART)

    async def receive(self, environment: EnvironmentId, pieces: AsyncIterator[bytes]) -> None:
        """See ``Intake``."""
        post = _Post(UsageReader(environment, 0, self._keys), environment)
        try:
            async for _ in post.reports(pieces):
                pass
        except RequestError:
            self._dropped.labels(environment, "unreadable").inc()
            raise
        self._sdks.count(environment, post.sdk)

    def pull(self, source: CountSource) -> None:
        """See ``Intake``."""
        del source


class _Batch(UsageEntries, frozen=True):
    """Entries of a lease, under a name by which a store can tell that they come again."""

    lease: UsageLease
    name: str

    def halves(self) -> "tuple[_Batch, _Batch]":
        """See ``UsageEntries``; each has a name of its own."""
        one, other = super().halves()
        return (
            msgspec.structs.replace(one, name=f"{self.name}.1"),
            msgspec.structs.replace(other, name=f"{self.name}.2"),
        )


class _Post:
    """One body while it is parsed; ``sdk`` is the SDK that posted it, if it says so."""

    def __init__(self, reader: UsageReader, environment: EnvironmentId) -> None:
        self.environment: Final = environment
        self.deferred: list[UsageReport] = []
        self.sdk = _UNKNOWN_SDK
        self.large = False
        self.waits_for_room = False
        self._reader = reader

    async def reports(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[UsageReport]:
        """Parse in steps, yielding to the event loop in between; raises ``RequestError``."""
        started = False
        async for piece in pieces:
            for step in steps(piece):
                if started and not self.large:
                    self.large = self.waits_for_room = True
                if started:
                    await asyncio.sleep(0)
                started = True
                yield self._note_sdk(self._reader.feed(step))
        yield self._note_sdk(self._reader.finish())

    def _note_sdk(self, report: UsageReport) -> UsageReport:
        if self.sdk is _UNKNOWN_SDK and report.counts:
            self.sdk = report.sdk
        return report
