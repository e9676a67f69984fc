"""Targets from the store's queue to SaaS, in the background."""

import asyncio
from random import Random
from typing import Final

from ff_proxy.errors import StoreError, UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import Backoff
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.time import Clock
from ff_proxy.store.protocol import Registration, Registrations
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.sinks import RegistrationSink

_AT_ONCE: Final = 8
_TROUBLE: Final = "targets not registered, kept for later"
# Definite answers that speak of the target itself: asking again changes nothing.
_INDIGESTIBLE: Final = frozenset({400, 413, 422})


class RegistrationForwarder:
    """Takes registrations out of the queue, a few at a time, and settles each.

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
        self._backoff = Backoff(random)
        self._outcomes = telemetry.instruments.registrations
        self._log = telemetry.logger("usage")
        self._once = telemetry.once("usage")

    async def run(self) -> None:
        """Forward for ever; after a round in which nothing was delivered it rests a while."""
        self.ready.set()
        while True:
            try:
                batch = await self._queue.take(_AT_ONCE)
                delivered = await asyncio.gather(*map(self._forward, batch))
            except StoreError as error:
                self._once.warning("registrations not readable", error=str(error))
                delivered = []
            if any(delivered):
                self._backoff.reset()
            else:
                await self._clock.sleep(self._backoff.next())

    async def _forward(self, registration: Registration) -> bool:
        environment = registration.environment
        failure: UpstreamError | None = None
        settled = False
        try:
            await self._sink.register(environment, registration.target)
            settled = True
        except UpstreamRefused as refused:
            failure = refused
            settled = refused.status in _INDIGESTIBLE
        except UpstreamError as error:
            failure = error
        finally:
            # Also when cancelled: it must not be taken for being on its way for ever.
            await self._queue.settle(registration, delivered=settled)
        self._tell(environment, failure)
        return settled

    def _tell(self, environment: EnvironmentId, failure: UpstreamError | None) -> None:
        self._outcomes.labels(environment, "delivered" if failure is None else "failed").inc()
        if failure is not None:
            self._once.warning(_TROUBLE, environment, error=str(failure))
        elif self._once.forget(_TROUBLE, environment):
            self._log.info("targets registered again", environment=environment)
