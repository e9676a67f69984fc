"""Targets on their way to SaaS."""

from typing import final

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import Registration, RegistrationTaker
from ff_proxy.telemetry import Telemetry


@final
class QueueRegistrar:
    """Puts targets into the store's queue; where there is no room they are dropped and counted."""

    def __init__(self, queue: RegistrationTaker, telemetry: Telemetry) -> None:
        self._queue = queue
        self._registrations = telemetry.instruments.registrations

    async def register(self, environment: EnvironmentId, target: Target) -> None:
        """See ``Registrar``."""
        if not await self._queue.add(Registration(environment, target)):
            self._registrations.labels(environment, "dropped").inc()


@final
class NoRegistrar:
    """For modes that tell SaaS of no targets."""

    async def register(self, environment: EnvironmentId, target: Target) -> None:
        """Nothing to do."""
        del environment, target
