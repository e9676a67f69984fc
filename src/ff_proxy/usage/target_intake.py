"""Accepting target registrations: they reach the store's queue in the background."""

import asyncio
from contextlib import suppress
from typing import Final, final

from ff_proxy.aio.waits import finish
from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import StoreError, StoreRefused
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import Registration, RegistrationIngest
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.acceptance import StoreAcceptance

_GRACE: Final = 5.0
_PAUSE: Final = 1.0
_REFUSED: Final = "a target cannot be registered and is dropped"


@final
class TargetIntake:
    """Moves targets to the store's queue, so that a slow or failed store never delays authentication.

    Targets that exceed the budget here or in the store are dropped and counted.

    Args:
        queue: the store's queue.
        clock: time.
        telemetry: counts dropped targets.
        budget: bytes of waiting targets; of each, only the newest attributes.

    Attributes:
        acceptance: whether the store accepts them.
    """

    name = "target intake"

    def __init__(
        self,
        queue: RegistrationIngest,
        clock: Clock,
        telemetry: Telemetry,
        *,
        budget: int = LEAST_SHARES.registrations,
    ) -> None:
        self.ready = asyncio.Event()
        self._queue = queue
        self._clock = clock
        self._outcomes = telemetry.metrics.registrations
        self._once = telemetry.once("usage")
        self.acceptance: Final = StoreAcceptance("registrations", telemetry)
        queued = telemetry.metrics.queued.labels("registrations")
        telemetry.sampler.add(lambda: queued.set(len(self._waiting)))
        self._waiting: BoundedMap[tuple[EnvironmentId, str], Registration] = BoundedMap(budget)
        self._not_empty = asyncio.Event()
        self._flushing = asyncio.Lock()

    def register(self, environment: EnvironmentId, target: Target) -> None:
        """See ``api.ports.Registrar``."""
        if self._waiting.offer((environment, target.identifier), Registration(environment, target)):
            self._not_empty.set()
        else:
            self._drop(environment)

    async def run(self) -> None:
        """Move targets into the store until cancelled; call ``flush`` afterwards for the rest."""
        self.ready.set()
        while True:
            await self._not_empty.wait()
            if not await finish(self.flush(), _GRACE):
                await self._clock.sleep(_PAUSE)

    async def flush(self) -> bool:
        """Move everything into the store; ``False`` if the store failed and the rest is still here."""
        async with self._flushing:
            while self._waiting:
                name, registration = next(iter(self._waiting.items()))
                try:
                    added = await self._queue.add(registration)
                except StoreRefused as error:
                    self._once.warning(_REFUSED, registration.environment, error=str(error))
                    added = False
                except StoreError as error:
                    self.acceptance.failed(error)
                    return False
                # If it was replaced meanwhile, the newer target is sent next.
                if self._waiting.peek(name) is registration:
                    self._waiting.pop(name)
                if not added:
                    self._drop(registration.environment)
                await asyncio.sleep(0)  # a store in memory never yields
            self._not_empty.clear()
        self.acceptance.worked()
        return True

    async def last_flush(self, seconds: float) -> None:
        """Flush for up to ``seconds``; the rest is lost with the process, and counted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.flush()
        for environment, _ in self._waiting:
            self._drop(environment)

    def _drop(self, environment: EnvironmentId) -> None:
        self._outcomes.labels(environment, "dropped").inc()


@final
class NullTargetIntake:
    """For modes that register no targets."""

    def register(self, environment: EnvironmentId, target: Target) -> None:
        """Nothing to do."""
        del environment, target
