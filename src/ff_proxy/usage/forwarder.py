"""Forwarding usage from the store's queue to Harness, with retries, each environment independently."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Final, Protocol

import msgspec

from ff_proxy.aio.cancellation import CancellationCheck
from ff_proxy.errors import FfProxyError, StoreError, UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import Backoff, jittered, requested_wait
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageEntries
from ff_proxy.store.protocol import UsageLease, UsageQueue
from ff_proxy.telemetry import Telemetry
from ff_proxy.wire.usage import write_usage

_ENTRIES: Final = 500
_BODY_BYTES: Final = 256 * 1024
# Concurrent posts: of all environments together, and of one environment.
_MAX_POSTS: Final = 64
_MAX_WINDOW: Final = 16
_MIN_WINDOW: Final = 1
_INITIAL_WINDOW: Final = 2
# Client SDKs count per target, which may fill a queue long before the round ends.
_EARLY_ROUND_ENTRIES: Final = 5_000
_CHECK_SECONDS: Final = 1.0
# Bisecting for the rejected entries takes requests: at most this many before the next pause.
_MAX_REJECTIONS: Final = 50
_NOT_WRITABLE: Final = "usage queue not writable"


class UsageSink(Protocol):
    """Posts usage to Harness (``POST /metrics/{env}?cluster=``)."""

    async def send(self, environment: EnvironmentId, body: bytes) -> None:
        """Return once Harness has accepted ``body``; times out.

        The sink finds the cluster and a valid token, and gets a new token itself after 401 or 403. Raises
        ``UpstreamRefused`` for any other definite refusal, including 400 and 413 (the entries are then
        bisected), and ``UpstreamUnavailable`` or ``UpstreamMalformed`` for failures worth a retry.
        ``perhaps_done`` says whether Harness may have accepted ``body`` nevertheless.
        """
        ...


class UsageForwarder:
    """Sends queued usage every ``interval`` seconds, or earlier if there is much of it.

    Each environment sends several bodies at once: one more after each success, half as many after a failure.
    After a failure it pauses; other environments do not.

    A post that failed with 5xx or without a response may still have been accepted. Its body is sent once
    more, after Harness has accepted an empty body, and then dropped: no count arrives more than twice.

    Args:
        queue: the queued counts.
        sink: posts bodies to Harness.
        interval: seconds between two rounds (option ``metric-post-duration``).
        clock: time.
        random: for jitter of rounds and retries.
        telemetry: counts what is sent, failed and dropped.
        owns: which environments this process sends for; by default all.
        accepted: called with the counts of each body that Harness has accepted.
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
        owns: Callable[[EnvironmentId], bool] = lambda _: True,
        accepted: Callable[[Sequence[UsageCount]], object] = lambda _: None,
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
        self._accepted = accepted
        self._gate = asyncio.Semaphore(_MAX_POSTS)
        self._windows: dict[EnvironmentId, _Window] = {}
        self._busy: set[EnvironmentId] = set()

    async def run(self) -> None:
        """Send for ever."""
        self.ready.set()
        self._busy.clear()  # a run that failed may have left some that it had not begun with
        async with asyncio.TaskGroup() as group:
            while True:
                for environment, entries in (await self._wait_until_due(group)).items():
                    if environment not in self._busy:
                        self._busy.add(environment)
                        group.create_task(self._send_round(environment, entries))

    async def flush(self, seconds: float) -> None:
        """Send queued usage for up to ``seconds``; the rest stays queued and is logged."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                # The part of the store that an unfinished lease is in may be away, and so not in ``pending``.
                unfinished = {name: 0 for name, window in self._windows.items() if window.is_unfinished}
                for environment, entries in (unfinished | await self._pending()).items():
                    send = partial(self._send_until_done, environment, entries)
                    group.create_task(self._contained(environment, send))
        await asyncio.gather(*map(self._give_back, self._windows.values()))
        for environment, entries in (await self._pending()).items():
            self._log.warning("usage not delivered in time", environment=environment, entries=entries)

    async def _send_round(self, environment: EnvironmentId, entries: int) -> None:
        try:
            await self._contained(environment, partial(self._send_until_done, environment, entries))
        finally:
            self._busy.discard(environment)

    async def _contained(self, environment: EnvironmentId, work: Callable[[], Awaitable[object]]) -> None:
        """Do ``work`` for one environment; its unexpected failures are reported, and stop no other."""
        check = CancellationCheck()
        try:
            await work()
        except Exception as error:  # noqa: BLE001  (see above)
            check.raise_if_cancelled(error)
            self._failures.contained("usage forwarder", error, environment)

    async def _wait_until_due(self, group: asyncio.TaskGroup) -> Mapping[EnvironmentId, int]:
        """Wait for the end of the round, or for many entries; returns the number of queued entries."""
        end = self._clock.monotonic() + jittered(self._random, self._interval)
        while True:
            left = end - self._clock.monotonic()
            await self._clock.sleep(min(left, _CHECK_SECONDS))
            for environment, window in self._windows.items():
                if window.unsettled and not window.settling.locked():
                    group.create_task(self._contained(environment, partial(self._settle_late, window)))
            pending = await self._pending()
            if left <= _CHECK_SECONDS or sum(pending.values()) >= _EARLY_ROUND_ENTRIES:
                return pending

    async def _pending(self) -> dict[EnvironmentId, int]:
        """The number of queued entries of each own environment; none if the store does not answer."""
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

    async def _send_until_done(self, environment: EnvironmentId, entries: int) -> None:
        """Send about ``entries``, pausing after failures, until done, or until another process owns them."""
        backoff = Backoff(self._random)
        while self._owns(environment):
            failure = await self._send(environment, entries)
            if failure is None:
                return
            await self._clock.sleep(backoff.next(failure))
        # The member that owns it now finds the rest in the queue.
        self._harness.answered("usage", environment)
        await self._give_back(self._window(environment))

    def _window(self, environment: EnvironmentId) -> "_Window":
        return self._windows.setdefault(environment, _Window())

    async def _send(self, environment: EnvironmentId, entries: int) -> FfProxyError | None:
        """Send about ``entries``; later ones wait for the next round. Returns the failure that stopped it."""
        window = self._window(environment)
        async with window.lock:
            return (
                # First, since what is taken now could be what was sent.
                await self._settle_late(window)
                or await self._resend_unconfirmed(environment, window)
                or await self._send_fresh(environment, window, entries)
            )

    async def _send_fresh(
        self, environment: EnvironmentId, window: "_Window", entries: int
    ) -> FfProxyError | None:
        failure: FfProxyError | None = None
        running: set[asyncio.Task[FfProxyError | None]] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                while failure is None and entries > 0 and len(running) < int(window.size):
                    try:
                        lease = await self._queue.take(environment, _ENTRIES)
                    except StoreError as error:
                        self._once.trouble(_NOT_WRITABLE, error)
                        failure = error
                        break
                    entries = 0 if lease is None else entries - len(lease)
                    if lease is not None:
                        parts = [_Part(lease.counts, lease.targets)]
                        running.add(group.create_task(self._deliver(window, lease, parts)))
                if not running:
                    return failure
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for outcome in [task.result() for task in done]:
                    window.adapt(outcome)
                    if failure is None or requested_wait(outcome) > requested_wait(failure):
                        failure = outcome

    async def _resend_unconfirmed(self, environment: EnvironmentId, window: "_Window") -> FfProxyError | None:
        """Send unconfirmed parts again, once Harness accepts anything."""
        if not window.unconfirmed:
            return None
        try:
            async with self._gate:
                await self._sink.send(environment, write_usage((), ()))
        except UpstreamError as error:
            if not _is_rejected(error):
                self._report_outcome(environment, error)
                return error
        while window.unconfirmed:
            lease, parts = window.unconfirmed.pop(0)
            failure = await self._deliver(window, lease, parts)
            if failure is not None:
                return failure
        return None

    async def _give_back(self, window: "_Window") -> None:
        """Return what Harness may not have to the queue."""
        if window.lock.locked():
            return  # a send is still running: the store returns the leases when they expire
        async with window.lock:
            window.unsettled |= {lease.id: (lease, parts) for lease, parts in window.unconfirmed}
            window.unconfirmed.clear()
            await self._settle_late(window)

    async def _deliver(
        self, window: "_Window", lease: UsageLease, parts: "list[_Part]"
    ) -> FfProxyError | None:
        """Send one lease and settle it; returns the failure that requires a pause."""
        failure: UpstreamError | None = None
        unsettled: StoreError | None = None
        rejections = 0
        try:
            while parts and failure is None:
                try:
                    parts[-1:] = await self._post(lease.environment, parts[-1])
                except UpstreamError as error:
                    rejections += 1
                    if _is_rejected(error) and rejections < _MAX_REJECTIONS:
                        parts[-1:] = self._bisect(parts[-1], lease.environment, error)
                        continue
                    failure = error
                    if error.perhaps_done:
                        parts[-1:] = self._mark_unconfirmed(parts[-1], lease.environment)
        finally:
            # Also when cancelled: sent entries must not return to the queue, and the rest must not be lost.
            if any(part.sent for part in parts) and failure is not None:
                window.unconfirmed.append((lease, parts))
            else:
                unsettled = await self._settle(window, lease, parts)
        self._report_outcome(lease.environment, failure)
        return failure or unsettled

    def _mark_unconfirmed(self, part: "_Part", environment: EnvironmentId) -> "list[_Part]":
        if not part.sent:
            return [msgspec.structs.replace(part, sent=True)]
        self._dropped.labels(environment, "unanswered").inc(len(part))
        self._once.warning(
            "usage was sent twice without a response that says whether it was accepted, and is dropped",
            environment,
            entries=len(part),
        )
        return []

    async def _settle(self, window: "_Window", lease: UsageLease, parts: "list[_Part]") -> StoreError | None:
        """Tell the store that Harness has all but ``parts``; if it does not answer, that is told later."""
        counts = [entry for part in parts for entry in part.counts]
        targets = [entry for part in parts for entry in part.targets]
        window.unsettled[lease.id] = lease, parts
        try:
            await self._queue.settle(lease, counts, targets)
        except StoreError as error:
            self._once.trouble(_NOT_WRITABLE, error)
            return error
        window.unsettled.pop(lease.id, None)
        return None

    async def _settle_late(self, window: "_Window") -> StoreError | None:
        """Settle leases for which the store had no answer, or they come back and are counted twice.

        Returns the failure if some are left.
        """
        async with window.settling:
            for lease, parts in list(window.unsettled.values()):
                failure = await self._settle(window, lease, parts)
                if failure is not None:
                    return failure  # the others of the environment are in the same place
        return None

    async def _post(self, environment: EnvironmentId, part: "_Part") -> "list[_Part]":
        """Send one part; returns the parts that remain: none, or its halves if it is too large."""
        body = write_usage(part.counts, part.targets)
        if len(body) > _BODY_BYTES and len(part) > 1:
            return list(part.halves())
        try:
            async with self._gate:
                await self._sink.send(environment, body)
        except UpstreamError:
            self._forwarded.labels(environment, "true").inc()
            raise
        self._forwarded.labels(environment, "false").inc()
        self._accepted(part.counts)
        return []

    def _bisect(self, part: "_Part", environment: EnvironmentId, error: UpstreamError) -> "list[_Part]":
        if len(part) > 1:
            return list(part.halves())
        self._dropped.labels(environment, "refused").inc()
        self._once.warning("a usage entry is refused by Harness and dropped", environment, error=str(error))
        return []

    def _report_outcome(self, environment: EnvironmentId, failure: UpstreamError | None) -> None:
        if failure is None:
            self._harness.answered("usage", environment)
        else:
            self._harness.failed(failure, "usage", environment)


def _is_rejected(error: UpstreamError) -> bool:
    return isinstance(error, UpstreamRefused) and error.rejects_body


class _Part(UsageEntries, frozen=True):
    """Entries of one body; ``sent``: they were sent once and may have been accepted."""

    sent: bool = False


class _Window:
    """One environment's concurrency window, and its leases that are not settled.

    Harness may have accepted the ``unconfirmed`` ones; the store did not answer for the ``unsettled`` ones.
    """

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.settling = asyncio.Lock()
        self.size: float = _INITIAL_WINDOW
        self.unconfirmed: list[tuple[UsageLease, list[_Part]]] = []
        self.unsettled: dict[str, tuple[UsageLease, list[_Part]]] = {}

    @property
    def is_unfinished(self) -> bool:
        """Whether some leases are not settled."""
        return bool(self.unconfirmed or self.unsettled)

    def adapt(self, outcome: FfProxyError | None) -> None:
        """Grow by one after each success, halve after a failure."""
        size = self.size + 1 if outcome is None else self.size / 2
        self.size = min(max(size, _MIN_WINDOW), _MAX_WINDOW)
