"""Forwarding target registrations from the store's queue to Harness in the background."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from random import Random
from typing import Final, Protocol

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import FfProxyError, StoreError, UpstreamError, UpstreamPending, UpstreamRefused
from ff_proxy.model.backoff import Backoff, requested_wait
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import Registration, Registrations
from ff_proxy.telemetry import Telemetry

_BATCH: Final = 32
_MAX_REQUESTS: Final = 8
# Registrations can wait: serving many new SDKs comes first.
_MAX_PER_SECOND: Final = 200
_LOOK_SECONDS: Final = 1.0
# After this long without success an environment counts as deleted, so that its targets do not fill the queue.
_GIVEN_UP_SECONDS: Final = 3600.0


class RegistrationSink(Protocol):
    """Registers targets with Harness (``POST /client/auth`` with the environment's configured key)."""

    async def register(self, environment: EnvironmentId, target: Target) -> None:
        """Return once Harness has ``target``; errors as in ``UsageSink.send``."""
        ...


class _Outcome(Enum):
    """What becomes of a registration.

    ``DONE``: Harness has it, or refuses it for good; ``DROPPED``: its environment is gone, but if that comes
    back, so may the registration.
    """

    DONE = "done"
    AGAIN = "again"
    DROPPED = "dropped"


class RegistrationForwarder:
    """Takes registrations from the queue in small batches and reports each as delivered or not.

    Each environment is on its own: one whose registrations fail or hang pauses, and the others continue.

    Args:
        queue: the queued registrations.
        sink: registers them with Harness.
        clock: time.
        random: for jitter of retries.
        telemetry: counts outcomes.
        given_up: environments whose registrations are dropped, since no key of theirs is configured any more.
    """

    name = "registration forwarder"

    def __init__(
        self,
        queue: Registrations,
        sink: RegistrationSink,
        clock: Clock,
        random: Random,
        telemetry: Telemetry,
        *,
        given_up: Callable[[EnvironmentId], bool] = lambda _: False,
    ) -> None:
        self.ready = asyncio.Event()
        self._queue = queue
        self._given_up = given_up
        self._sink = sink
        self._clock = clock
        self._random = random
        self._gate = PatientLimiter(_MAX_REQUESTS, clock)
        self._next_batch_at = 0.0
        self._busy: set[EnvironmentId] = set()
        self._failing: dict[EnvironmentId, _Failing] = {}
        self._outcomes = telemetry.metrics.registrations
        self._once = telemetry.once("usage")
        self._harness = telemetry.harness

    async def run(self) -> None:
        """Forward for ever, at most ``_MAX_PER_SECOND``."""
        self.ready.set()
        self._busy.clear()  # a run that failed may have left some that it had not begun with
        async with asyncio.TaskGroup() as group:
            while True:
                with self._reported():
                    for environment in set(await self._queue.waiting()) - self._busy:
                        self._busy.add(environment)
                        group.create_task(self._forward_all(environment))
                await self._clock.sleep(_LOOK_SECONDS)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._once.trouble("registrations not readable", error)

    async def _forward_all(self, environment: EnvironmentId) -> None:
        """Forward what waits of an environment, pausing after failures."""
        try:
            with self._reported():
                while True:
                    await self._clock.sleep(max(0.0, self._next_batch_at - self._clock.monotonic()))
                    batch = await self._queue.take(environment, _BATCH)
                    if not batch:
                        return
                    now = self._clock.monotonic()
                    self._next_batch_at = max(self._next_batch_at, now) + len(batch) / _MAX_PER_SECOND
                    failures = await asyncio.gather(*map(self._forward, batch))
                    await self._pause(environment, failures)
        finally:
            self._busy.discard(environment)

    async def _pause(self, environment: EnvironmentId, failures: Sequence[FfProxyError | None]) -> None:
        """Pause for as long as Harness asked, and for longer each time if nothing was delivered."""
        if None in failures:
            self._failing.pop(environment, None)
            await self._clock.sleep(max(map(requested_wait, failures)))
        elif failures:
            failing = self._failing.setdefault(environment, _Failing(self._random))
            await self._clock.sleep(failing.backoff.next(max(failures, key=requested_wait)))

    async def _forward(self, registration: Registration) -> FfProxyError | None:
        """Send one; returns the failure that requires a pause."""
        outcome = _Outcome.AGAIN
        failure: FfProxyError | None = None
        try:
            outcome, failure = await self._deliver(registration)
        finally:
            # Also when cancelled: otherwise it would stay marked as in flight.
            try:
                if outcome is _Outcome.DROPPED:
                    await self._queue.discard(registration)
                else:
                    await self._queue.complete(registration, delivered=outcome is _Outcome.DONE)
            except StoreError as error:
                self._once.trouble("registrations not readable", error)
                failure = error
        return failure

    async def _deliver(self, registration: Registration) -> tuple[_Outcome, UpstreamError | None]:
        environment = registration.environment
        if self._given_up(environment):
            self._outcomes.labels(environment, "dropped").inc()
            self._harness.withdraw(environment)
            return _Outcome.DROPPED, None
        try:
            async with self._gate.place():
                await self._sink.register(environment, registration.target)
        except UpstreamError as error:
            outcome = self._record_failure(environment, error)
            return outcome, None if outcome is _Outcome.DONE else error
        self._outcomes.labels(environment, "delivered").inc()
        self._harness.answered("target registrations", environment)
        return _Outcome.DONE, None

    def _record_failure(self, environment: EnvironmentId, error: UpstreamError) -> _Outcome:
        """What becomes of the registration."""
        self._outcomes.labels(environment, "failed").inc()
        if isinstance(error, UpstreamRefused) and error.rejects_body:
            self._once.warning("a target is refused by Harness and dropped", environment, error=str(error))
            return _Outcome.DONE
        if not isinstance(error, UpstreamPending):
            self._harness.failed(error, "target registrations", environment)
        failing = self._failing.setdefault(environment, _Failing(self._random))
        now = self._clock.monotonic()
        if not isinstance(error, UpstreamRefused):
            failing.refused_since = None
            return _Outcome.AGAIN
        if failing.refused_since is None:
            failing.refused_since = now
        return _Outcome.DROPPED if now - failing.refused_since > _GIVEN_UP_SECONDS else _Outcome.AGAIN


class _Failing:
    """An environment of which nothing was delivered lately."""

    def __init__(self, random: Random) -> None:
        self.backoff = Backoff(random)
        self.refused_since: float | None = None
