"""Usage from the store's queue to SaaS: in bodies that SaaS takes, retried, each environment on its own."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Final

import msgspec

from ff_proxy.aio.cancellation import CancellationCheck
from ff_proxy.errors import StoreError, UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import Backoff, jittered
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.store.protocol import UsageLease, UsageQueue
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.ports import UsageSink
from ff_proxy.wire.usage import write_usage

_ENTRIES: Final = 500
_BODY_BYTES: Final = 256 * 1024
# Posts under way together: of all environments, and of one that SaaS keeps up with.
_AT_ONCE: Final = 64
_WIDEST: Final = 16
_NARROWEST: Final = 1
_FIRST: Final = 2
# Counts of client SDKs are kept by target, and may fill a queue long before a round is over.
_MUCH: Final = 5_000
_LOOK: Final = 1.0
# The definite answers that speak of the body, not of us: part of it may still be welcome.
_INDIGESTIBLE: Final = frozenset({400, 413, 422})
# Looking for entries that SaaS refuses takes requests: no more than this many before the next pause.
_REFUSALS: Final = 50


def _everyones(_: EnvironmentId) -> bool:
    return True


class UsageForwarder:
    """Sends what waits every ``interval`` seconds, and before that if it is much.

    Several bodies of an environment are under way at once: ever more while SaaS takes them, half as many
    after a failure, and then none until a pause is over, which other environments do not wait for.

    A body that may have been taken although its post failed (SaaS answered 5xx, or not at all) is sent once
    more, when SaaS has taken a body without entries, and then given up: no count arrives more than twice.

    Args:
        queue: where counts wait.
        sink: takes bodies to SaaS.
        interval: seconds between two rounds (option ``metric-post-duration``).
        clock: time.
        random: spreads rounds and retries.
        telemetry: told of bodies sent, failed and dropped.
        owns: which environments this process sends for; by default every one.
    """

    name = "usage forwarder"

    def __init__(
        self,
        queue: UsageQueue,
        sink: UsageSink,
        interval: float,
        clock: Clock,
        random: Random,
        telemetry: Telemetry,
        *,
        owns: Callable[[EnvironmentId], bool] = _everyones,
    ) -> None:
        self.ready = asyncio.Event()
        self._queue = queue
        self._sink = sink
        self._interval = interval
        self._clock = clock
        self._random = random
        self._forwarded = telemetry.metrics.usage_forwarded
        self._dropped = telemetry.metrics.usage_dropped
        self._log = telemetry.logger("usage")
        self._once = telemetry.once("usage")
        self._failures = telemetry.failures
        self._harness = telemetry.harness
        self._queued = telemetry.metrics.usage_queued
        self._shown: set[EnvironmentId] = set()
        self._owns = owns
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._lanes: dict[EnvironmentId, _Lane] = {}
        self._busy: set[EnvironmentId] = set()

    async def run(self) -> None:
        """Send for ever."""
        self.ready.set()
        async with asyncio.TaskGroup() as group:
            while True:
                for environment, entries in (await self._due()).items():
                    if environment not in self._busy:
                        self._busy.add(environment)
                        group.create_task(self._keep_sending(environment, entries))

    async def flush(self, seconds: float) -> None:
        """Send what waits, for up to ``seconds``; what is left then stays queued, and is told."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for environment, entries in (await self._pending()).items():
                    group.create_task(self._insist(environment, entries))
        for environment, lane in self._lanes.items():
            await self._return_doubtful(environment, lane)
        for environment, entries in (await self._pending()).items():
            self._log.warning("usage not delivered in time", environment=environment, entries=entries)

    async def _due(self) -> Mapping[EnvironmentId, int]:
        """What waits when the round is over, or when it has become much."""
        end = self._clock.monotonic() + jittered(self._random, self._interval)
        while True:
            left = end - self._clock.monotonic()
            await self._clock.sleep(min(left, _LOOK))
            pending = await self._pending()
            if left <= _LOOK or sum(pending.values()) >= _MUCH:
                return pending

    async def _pending(self) -> Mapping[EnvironmentId, int]:
        try:
            pending = await self._queue.pending()
        except StoreError as error:
            self._once.trouble("usage queue not readable", error)
            return {}
        owned = {name: entries for name, entries in pending.items() if self._owns(name)}
        for name in self._shown - owned.keys():
            self._queued.labels(name).set(0)
        for name, entries in owned.items():
            self._queued.labels(name).set(entries)
        self._shown = set(owned)
        return owned

    async def _insist(self, environment: EnvironmentId, entries: int) -> None:
        """Send about ``entries``, with pauses after failures, until done or cancelled."""
        backoff = Backoff(self._random)
        while (failure := await self._send(environment, entries)) is not None:
            await self._clock.sleep(backoff.next(failure))

    async def _keep_sending(self, environment: EnvironmentId, entries: int) -> None:
        backoff, check = Backoff(self._random), CancellationCheck()
        try:
            while self._owns(environment):
                failure = await self._send(environment, entries)
                if failure is None:
                    return
                await self._clock.sleep(backoff.next(failure))
            # Whoever sends for it now finds the rest in the queue.
            self._harness.answered("usage", environment)
            await self._return_doubtful(environment, self._lane(environment))
        except Exception as error:  # noqa: BLE001  (what one environment stumbles over is not the others')
            check.raise_if_cancelled(error)
            self._failures.contained("usage forwarder", error, environment)
        finally:
            self._busy.discard(environment)

    def _lane(self, environment: EnvironmentId) -> "_Lane":
        return self._lanes.setdefault(environment, _Lane())

    async def _send(self, environment: EnvironmentId, entries: int) -> UpstreamError | None:
        """Send about ``entries``, what comes meanwhile is the next round's; returns why it stopped early."""
        lane = self._lane(environment)
        async with lane.lock:
            return await self._send_doubtful(environment, lane) or await self._send_fresh(
                environment, lane, entries
            )

    async def _send_fresh(
        self, environment: EnvironmentId, lane: "_Lane", entries: int
    ) -> UpstreamError | None:
        failure: UpstreamError | None = None
        running: set[asyncio.Task[UpstreamError | None]] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                while failure is None and entries > 0 and len(running) < int(lane.width):
                    lease = await self._take(environment)
                    entries = 0 if lease is None else entries - len(lease.counts) - len(lease.targets)
                    if lease is not None:
                        parts = [_Part(lease.counts, lease.targets)]
                        running.add(group.create_task(self._deliver(lane, lease, parts)))
                if not running:
                    return failure
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for outcome in [task.result() for task in done]:
                    lane.adapt(outcome)
                    failure = failure or outcome

    async def _take(self, environment: EnvironmentId) -> UsageLease | None:
        try:
            return await self._queue.take(environment, _ENTRIES)
        except StoreError as error:
            self._once.trouble("usage queue not writable", error)
            return None

    async def _send_doubtful(self, environment: EnvironmentId, lane: "_Lane") -> UpstreamError | None:
        """Send again what may have been taken, if SaaS takes anything now."""
        if not lane.doubtful:
            return None
        try:
            async with self._gate:
                await self._sink.send(environment, write_usage((), ()))
        except UpstreamError as error:
            if not _is_indigestible(error):
                self._note(environment, error)
                return error
        while lane.doubtful:
            lease, parts = lane.doubtful.pop(0)
            failure = await self._deliver(lane, lease, parts)
            if failure is not None:
                return failure
        return None

    async def _return_doubtful(self, environment: EnvironmentId, lane: "_Lane") -> None:
        if lane.lock.locked():
            return  # whoever sends now does not end in time: the store brings leases back by itself
        async with lane.lock:
            while lane.doubtful:
                lease, parts = lane.doubtful.pop()
                try:
                    await self._settle(lease, parts)
                except StoreError as error:
                    self._once.trouble("usage queue not writable", error, environment)

    async def _deliver(self, lane: "_Lane", lease: UsageLease, parts: "list[_Part]") -> UpstreamError | None:
        """Send one lease and settle it; returns why SaaS is to be left alone for now."""
        failure: UpstreamError | None = None
        refusals = 0
        try:
            while parts and failure is None:
                try:
                    parts[-1:] = await self._post(lease.environment, parts[-1])
                except UpstreamError as error:
                    refusals += 1
                    if _is_indigestible(error) and refusals < _REFUSALS:
                        parts[-1:] = self._without_culprit(parts[-1], lease.environment, error)
                        continue
                    failure = error
                    if error.perhaps_done:
                        parts[-1:] = self._sent_once(parts[-1], lease.environment)
        finally:
            # Also when cancelled in the middle: what was sent must not come back, nor the rest be lost.
            if any(part.sent for part in parts) and failure is not None:
                lane.doubtful.append((lease, parts))
            else:
                await self._settle_if_possible(lease, parts)
        self._note(lease.environment, failure)
        return failure

    def _sent_once(self, part: "_Part", environment: EnvironmentId) -> "list[_Part]":
        if not part.sent:
            return [msgspec.structs.replace(part, sent=True)]
        self._dropped.labels(environment, "unanswered").inc(len(part))
        self._once.warning(
            "usage was sent twice without an answer that says whether it was taken, and is not sent again",
            environment,
            entries=len(part),
        )
        return []

    async def _settle_if_possible(self, lease: UsageLease, parts: "Sequence[_Part]") -> None:
        try:
            await self._settle(lease, parts)
        except StoreError as error:
            self._once.trouble("usage queue not writable", error)

    async def _post(self, environment: EnvironmentId, part: "_Part") -> "list[_Part]":
        """Send one part; returns what is to be sent in its place: nothing, or halves if it is too large."""
        body = write_usage(part.counts, part.targets)
        if len(body) > _BODY_BYTES and len(part) > 1:
            return part.halves()
        try:
            async with self._gate:
                await self._sink.send(environment, body)
        except UpstreamError:
            self._forwarded.labels(environment, "true").inc()
            raise
        self._forwarded.labels(environment, "false").inc()
        return []

    def _without_culprit(
        self, part: "_Part", environment: EnvironmentId, error: UpstreamError
    ) -> "list[_Part]":
        if len(part) > 1:
            return part.halves()
        self._dropped.labels(environment, "refused").inc()
        self._once.warning("a usage entry is refused by SaaS and dropped", environment, error=str(error))
        return []

    async def _settle(self, lease: UsageLease, rest: Sequence["_Part"]) -> None:
        counts = [entry for part in rest for entry in part.counts]
        targets = [entry for part in rest for entry in part.targets]
        if len(counts) == len(lease.counts) and len(targets) == len(lease.targets):
            await self._queue.release(lease)
            return
        if counts or targets:
            # Before the lease is let go: a crash in between sends it twice rather than never.
            dropped = await self._queue.merge(counts, targets)
            if dropped:
                self._dropped.labels(lease.environment, "no room").inc(dropped)
        await self._queue.acknowledge(lease)

    def _note(self, environment: EnvironmentId, failure: UpstreamError | None) -> None:
        if failure is None:
            self._harness.answered("usage", environment)
        else:
            self._harness.failed(failure, "usage", environment)


def _is_indigestible(error: UpstreamError) -> bool:
    return isinstance(error, UpstreamRefused) and error.status in _INDIGESTIBLE


class _Part(msgspec.Struct, frozen=True):
    """Entries that go into one body; ``sent``: they have been sent once, and may have been taken."""

    counts: tuple[UsageCount, ...]
    targets: tuple[UsageTarget, ...]
    sent: bool = False

    def __len__(self) -> int:
        return len(self.counts) + len(self.targets)

    def halves(self) -> "list[_Part]":
        """The same entries in two parts."""
        middle = len(self) // 2
        counted = min(middle, len(self.counts))
        seen = middle - counted
        return [
            _Part(self.counts[:counted], self.targets[:seen], self.sent),
            _Part(self.counts[counted:], self.targets[seen:], self.sent),
        ]


class _Lane:
    """One environment on its way: ``width`` bodies at once, and the leases that may have been taken."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.width: float = _FIRST
        self.doubtful: list[tuple[UsageLease, list[_Part]]] = []

    def adapt(self, outcome: UpstreamError | None) -> None:
        """One more at once for each lease that was taken, half as many after a failure."""
        wished = self.width + 1 if outcome is None else self.width / 2
        self.width = min(max(wished, _NARROWEST), _WIDEST)
