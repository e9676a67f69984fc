"""Where the api hands in what SDKs post: merged in memory, and in the store half a second later."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from ff_proxy.aio.waits import finish, sleep_unless
from ff_proxy.errors import RequestError, StoreError, StoreRefused
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.usage import weight
from ff_proxy.store.protocol import UsageIngest
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.sdk_metrics import SdkCounter
from ff_proxy.usage.write_buffer import Batch, WriteBuffer
from ff_proxy.wire.usage import SdkLabels, UsageReport
from ff_proxy.wire.usage_reader import UsageReader, steps

_BATCH: Final = 1000
_GRACE: Final = 5.0
_MILLISECONDS: Final = 1000
_TROUBLE: Final = "store does not take usage, kept in memory"
# A post is held back until its end is read, so that one that is sent again counts once. No more than so much
# of the room for merged entries may wait like that.
_HELD_BACK_PART: Final = 4
# A tenth of the room in use makes a flush due at once, and half of it makes large posts wait for one.
_MUCH_PART: Final = 10
_FULL_PART: Final = 2
_ROOM_SECONDS: Final = 2.0
_NOBODY: Final = SdkLabels()


class Intake(Protocol):
    """What the api sees."""

    async def take(self, environment: EnvironmentId, pieces: AsyncIterator[bytes]) -> None:
        """Take a posted body of ``environment`` as it arrives; the event loop turns between its steps.

        Raises ``RequestError`` 400 if the body cannot be read, and what ``pieces`` raises.
        """
        ...


class UsageIntake:
    """Merges what SDKs post and hands it to the store's queue within ``interval`` seconds.

    What finds no room is dropped and counted.

    Args:
        queue: where counts wait for SaaS.
        clock: time.
        telemetry: told of SDKs seen and entries dropped.
        interval: seconds that a count may be in this process only, to be lost on ``kill -9``
            (spec/behaviour#goals).
        budget: bytes of entries that are merged in memory.
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
    ) -> None:
        self.ready = asyncio.Event()
        self._queue = queue
        self._clock = clock
        self._dropped = telemetry.metrics.usage_dropped
        self._sdks = SdkCounter(telemetry.metrics.sdk_usage)
        self._once = telemetry.once("usage")
        queued = telemetry.metrics.queued.labels("usage")
        telemetry.sampler.add(lambda: queued.set(len(self._buffer)))
        self._interval = interval
        self._much_bytes = budget // _MUCH_PART
        self._full_bytes = budget // _FULL_PART
        self._room_held_back = budget // _HELD_BACK_PART
        self._buffer = WriteBuffer(budget - budget // _HELD_BACK_PART)
        self._something = asyncio.Event()
        self._much = asyncio.Event()
        self._room = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._waiting: deque[Batch] = deque()

    async def take(self, environment: EnvironmentId, pieces: AsyncIterator[bytes]) -> None:
        """See ``Intake``."""
        post = _Post(environment, int(self._clock.wall() * _MILLISECONDS))
        held_back = 0
        try:
            async for report in post.reports(pieces):
                size = _size(report)
                if self._room_held_back >= size:
                    self._room_held_back -= size
                    held_back += size
                    post.held_back.append(report)
                else:
                    await self._pass_on(post, [*post.held_back, report])
                    post.held_back.clear()
            self._sdks.count(environment, post.sdk)
            await self._pass_on(post, post.held_back)
        except RequestError as refusal:
            if refusal.status == 400:  # noqa: PLR2004  (the body's fault)
                self._drop(environment, "unreadable", 1)
            raise
        finally:
            self._room_held_back += held_back

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
            waiting = self._waiting = deque(self._buffer.drain(_BATCH))
            try:
                while waiting:
                    batch = waiting[0]
                    try:
                        dropped = await self._queue.merge(batch.counts, batch.targets)
                    except StoreRefused:
                        waiting.popleft()
                        waiting.extendleft(self._without_culprit(batch))
                        continue
                    waiting.popleft()
                    self._drop(batch.environment, "no room", dropped)
                    await asyncio.sleep(0)  # a store in memory would let nobody else in between
            except StoreError as error:
                self._once.warning(_TROUBLE, error=str(error))
                return False
            finally:
                self._put_back(waiting)
                waiting.clear()
            self._room.set()
        self._once.forget(_TROUBLE)
        return True

    async def last_flush(self, seconds: float) -> None:
        """Flush for up to ``seconds``; what is left then is lost with the process, and counted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.flush()
        left: Counter[EnvironmentId] = Counter()
        for batch in (*self._waiting, *self._buffer.drain(_BATCH)):
            left[batch.environment] += len(batch.counts) + len(batch.targets)
        for environment, entries in left.items():
            self._drop(environment, "not stored at the end", entries)

    def _without_culprit(self, batch: Batch) -> Sequence[Batch]:
        if len(batch) > 1:
            return batch.halves()
        self._drop(batch.environment, "bad", 1)
        return ()

    async def _pass_on(self, post: "_Post", reports: Iterable[UsageReport]) -> None:
        """Merge reports in, the loop turning in between; a post of many steps waits a moment for room."""
        for report in reports:
            if post.patient and self._buffer.spent > self._full_bytes:
                self._room.clear()
                self._much.set()
                await sleep_unless(self._room, self._clock, _ROOM_SECONDS)
                post.patient = self._room.is_set()
            elif post.large:
                await asyncio.sleep(0)
            self._take(post.environment, report)

    def _take(self, environment: EnvironmentId, report: UsageReport) -> None:
        self._drop(environment, "bad", report.bad)
        self._drop(environment, "no room", self._buffer.add(report.counts, report.targets))
        if len(self._buffer):
            self._something.set()
        if self._buffer.spent >= self._much_bytes:
            self._much.set()

    def _put_back(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            self._drop(batch.environment, "no room", self._buffer.put_back(batch))
            self._something.set()

    def _drop(self, environment: EnvironmentId, reason: str, entries: int) -> None:
        if entries:
            self._dropped.labels(environment, reason).inc(entries)
            self._once.warning("usage entries dropped", environment, reason=reason, entries=entries)


class NullIntake:
    """Takes posts as ``UsageIntake`` does and keeps nothing: offline, and with METRIC_POST_DURATION 0."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._sdks = SdkCounter(telemetry.metrics.sdk_usage)
        self._dropped = telemetry.metrics.usage_dropped

    async def take(self, environment: EnvironmentId, pieces: AsyncIterator[bytes]) -> None:
        """See ``Intake``."""
        post = _Post(environment, 0)
        try:
            async for _ in post.reports(pieces):
                pass
        except RequestError:
            self._dropped.labels(environment, "unreadable").inc()
            raise
        self._sdks.count(environment, post.sdk)


class _Post:
    """One body while it is read; ``sdk`` is who posted it, as far as it says so."""

    def __init__(self, environment: EnvironmentId, received: int) -> None:
        self.environment: Final = environment
        self.held_back: list[UsageReport] = []
        self.sdk = _NOBODY
        self.large = False
        self.patient = False
        self._reader = UsageReader(environment, received)

    async def reports(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[UsageReport]:
        """What is in it, step by step, the loop turning in between; raises ``RequestError``."""
        begun = False
        async for piece in pieces:
            for step in steps(piece):
                if begun and not self.large:
                    self.large = self.patient = True
                if begun:
                    await asyncio.sleep(0)
                begun = True
                yield self._named(self._reader.feed(step))
        yield self._named(self._reader.finish())

    def _named(self, report: UsageReport) -> UsageReport:
        if self.sdk is _NOBODY and report.counts:
            self.sdk = report.sdk
        return report


def _size(report: UsageReport) -> int:
    return sum(map(weight, report.counts)) + sum(map(weight, report.targets))
