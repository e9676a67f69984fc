"""Forwarding target registrations from the store's queue to Harness in the background."""

import asyncio
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Final, Protocol

from ff_proxy.errors import StoreError, UpstreamError, UpstreamPending, UpstreamRefused
from ff_proxy.model.backoff import Backoff
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import Registration, Registrations
from ff_proxy.telemetry import Telemetry

_BATCH: Final = 32
_MAX_REQUESTS: Final = 8
# Registrations can wait: serving many new SDKs comes first.
_MAX_PER_SECOND: Final = 200
_PAUSE: Final = 1.0
_STORE_FAILURE: Final = "registrations not readable"
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

    An environment whose registrations fail is paused; the others continue.

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
        self._gate = asyncio.Semaphore(_MAX_REQUESTS)
        self._pauses: dict[EnvironmentId, _EnvironmentPause] = {}
        self._outcomes = telemetry.metrics.registrations
        self._once = telemetry.once("usage")
        self._harness = telemetry.harness

    async def run(self) -> None:
        """Forward for ever, at most ``_MAX_PER_SECOND``; pause if nothing of a batch was delivered."""
        self.ready.set()
        while True:
            delivered: list[bool] = []
            pause = _PAUSE
            try:
                batch = await self._queue.take(_BATCH)
                next_batch_at = self._clock.monotonic() + len(batch) / _MAX_PER_SECOND
                # Decide before sending: a target that fails must not delay the others of its batch.
                paused = {
                    registration.environment
                    for registration in batch
                    if self._is_paused(registration.environment)
                }
                delivered = await asyncio.gather(
                    *(
                        self._forward(registration, paused=registration.environment in paused)
                        for registration in batch
                    )
                )
            except StoreError as error:
                self._once.trouble(_STORE_FAILURE, error)
            else:
                if any(delivered):
                    pause = next_batch_at - self._clock.monotonic()
            if pause > 0:
                await self._clock.sleep(pause)

    async def _forward(self, registration: Registration, *, paused: bool) -> bool:
        """Whether it was removed from the queue."""
        outcome = _Outcome.AGAIN
        try:
            if not paused:
                outcome = await self._deliver(registration)
        finally:
            # Also when cancelled: otherwise it would stay marked as in flight.
            try:
                if outcome is _Outcome.DROPPED:
                    await self._queue.discard(registration)
                else:
                    await self._queue.complete(registration, delivered=outcome is _Outcome.DONE)
            except StoreError as error:
                self._once.trouble(_STORE_FAILURE, error)
                outcome = _Outcome.AGAIN
        return outcome is not _Outcome.AGAIN

    async def _deliver(self, registration: Registration) -> _Outcome:
        environment = registration.environment
        if self._given_up(environment):
            self._outcomes.labels(environment, "dropped").inc()
            self._pauses.pop(environment, None)
            self._harness.withdraw(environment)
            return _Outcome.DROPPED
        try:
            async with self._gate:
                await self._sink.register(environment, registration.target)
        except UpstreamError as error:
            return self._record_failure(environment, error)
        self._outcomes.labels(environment, "delivered").inc()
        self._pauses.pop(environment, None)
        self._harness.answered("target registrations", environment)
        return _Outcome.DONE

    def _is_paused(self, environment: EnvironmentId) -> bool:
        pause = self._pauses.get(environment)
        return pause is not None and pause.until > self._clock.monotonic()

    def _record_failure(self, environment: EnvironmentId, error: UpstreamError) -> _Outcome:
        """What becomes of the registration; if it is sent again, its environment pauses."""
        self._outcomes.labels(environment, "failed").inc()
        if isinstance(error, UpstreamRefused) and error.rejects_body:
            self._once.warning("a target is refused by Harness and dropped", environment, error=str(error))
            return _Outcome.DONE
        if not isinstance(error, UpstreamPending):
            self._harness.failed(error, "target registrations", environment)
        now = self._clock.monotonic()
        pause = self._pauses.setdefault(environment, _EnvironmentPause(self._random))
        pause.extend(now, error)
        if not isinstance(error, UpstreamRefused):
            pause.refused_since = None
            return _Outcome.AGAIN
        if pause.refused_since is None:
            pause.refused_since = now
        return _Outcome.DROPPED if now - pause.refused_since > _GIVEN_UP_SECONDS else _Outcome.AGAIN


class _EnvironmentPause:
    """A paused environment; ``until`` is a time of the monotonic clock."""

    def __init__(self, random: Random) -> None:
        self._backoff = Backoff(random)
        self.until = 0.0
        self.refused_since: float | None = None

    def extend(self, now: float, error: UpstreamError) -> None:
        """Pause longer than the last time; failures during a pause count as one."""
        if self.until <= now:
            self.until = now + self._backoff.next(error)
