"""Targets from the store's queue to SaaS, in the background."""

import asyncio
from random import Random
from typing import Final

from ff_proxy.errors import StoreError, UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import Backoff
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import Registration, Registrations
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.ports import RegistrationSink

_BATCH: Final = 32
_AT_ONCE: Final = 8
# When many SDKs come at once, serving them goes before what can wait.
_A_SECOND: Final = 200
_PAUSE: Final = 1.0
_STORE_TROUBLE: Final = "registrations not readable"
# Definite answers that speak of the target itself: asking again changes nothing.
_INDIGESTIBLE: Final = frozenset({400, 413, 422})
# An environment that SaaS has refused for this long is gone: its targets must not fill the queue for ever.
_GIVEN_UP_SECONDS: Final = 3600.0


class RegistrationForwarder:
    """Takes registrations out of the queue, a few at a time, and settles each.

    An environment whose registrations fail rests for a while, and the others go on.

    Args:
        queue: where they wait.
        sink: makes SaaS know them.
        clock: time.
        random: spreads retries.
        telemetry: told of each outcome.
    """

    name = "registration forwarder"

    def __init__(
        self,
        queue: Registrations,
        sink: RegistrationSink,
        clock: Clock,
        random: Random,
        telemetry: Telemetry,
    ) -> None:
        self.ready = asyncio.Event()
        self._queue = queue
        self._sink = sink
        self._clock = clock
        self._random = random
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._resting: dict[EnvironmentId, _Rest] = {}
        self._outcomes = telemetry.metrics.registrations
        self._once = telemetry.once("usage")
        self._harness = telemetry.harness

    async def run(self) -> None:
        """Forward for ever, ``_A_SECOND`` at most; with a pause after a batch that the queue kept whole."""
        self.ready.set()
        while True:
            settled: list[bool] = []
            pause = _PAUSE
            try:
                batch = await self._queue.take(_BATCH)
                enough = self._clock.monotonic() + len(batch) / _A_SECOND
                # Known before the first is sent: one target that fails must not keep back its neighbours.
                resting = {one.environment for one in batch if self._rests(one.environment)}
                settled = await asyncio.gather(
                    *(self._forward(one, rests=one.environment in resting) for one in batch)
                )
            except StoreError as error:
                self._once.trouble(_STORE_TROUBLE, error)
            else:
                if any(settled):
                    pause = enough - self._clock.monotonic()
            if pause > 0:
                await self._clock.sleep(pause)

    async def _forward(self, registration: Registration, *, rests: bool) -> bool:
        """Whether the queue is rid of it."""
        done = False
        try:
            done = not rests and await self._deliver(registration)
        finally:
            # Also when cancelled: it must not be taken for being on its way for ever.
            try:
                await self._queue.settle(registration, delivered=done)
            except StoreError as error:
                self._once.trouble(_STORE_TROUBLE, error)
                done = False
        return done

    async def _deliver(self, registration: Registration) -> bool:
        environment = registration.environment
        try:
            async with self._gate:
                await self._sink.register(environment, registration.target)
        except UpstreamError as error:
            return self._is_final(environment, error)
        self._outcomes.labels(environment, "delivered").inc()
        self._resting.pop(environment, None)
        self._harness.answered("target registrations", environment)
        return True

    def _rests(self, environment: EnvironmentId) -> bool:
        rest = self._resting.get(environment)
        return rest is not None and rest.until > self._clock.monotonic()

    def _is_final(self, environment: EnvironmentId, error: UpstreamError) -> bool:
        self._outcomes.labels(environment, "failed").inc()
        if isinstance(error, UpstreamRefused) and error.status in _INDIGESTIBLE:
            self._once.warning("a target is refused by Harness and dropped", environment, error=str(error))
            return True
        self._harness.failed(error, "target registrations", environment)
        now = self._clock.monotonic()
        rest = self._resting.setdefault(environment, _Rest(self._random))
        rest.put_off(now, error)
        if not isinstance(error, UpstreamRefused):
            rest.refused_since = None
            return False
        if rest.refused_since is None:
            rest.refused_since = now
        return now - rest.refused_since > _GIVEN_UP_SECONDS


class _Rest:
    """An environment that is left alone ``until`` a time of the monotonic clock."""

    def __init__(self, random: Random) -> None:
        self._backoff = Backoff(random)
        self.until = 0.0
        self.refused_since: float | None = None

    def put_off(self, now: float, error: UpstreamError) -> None:
        """Rest longer than the last time; failures of one batch count as one."""
        if self.until <= now:
            self.until = now + self._backoff.next(error)
