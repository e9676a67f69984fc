"""Accepting target registrations: they reach the store's queue in the background."""

import asyncio
from typing import Final, final

from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import StoreRefused
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import Registration, RegistrationIngest
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.store_writer import StoreWriter

# SQLite and the connection between processes batch what is asked for at once. Of Redis's few connections most
# are for SDKs that wait.
_CONCURRENT: Final = 8
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
        writer: writes to the store, and reports whether that accepts them.
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
        self._outcomes = telemetry.metrics.registrations
        self._once = telemetry.once("usage")
        queued = telemetry.metrics.queued.labels("registrations")
        telemetry.sampler.add(lambda: queued.set(len(self._waiting)))
        self._waiting: BoundedMap[tuple[EnvironmentId, str], Registration] = BoundedMap(budget)
        # What waits of each environment, oldest first.
        self._identifiers: dict[EnvironmentId, dict[str, None]] = {}
        self.writer: Final = StoreWriter(
            "registrations", self._identifiers.keys, self._add_all, clock, telemetry
        )

    def register(self, environment: EnvironmentId, target: Target) -> None:
        """See ``api.ports.Registrar``."""
        if self._waiting.offer((environment, target.identifier), Registration(environment, target)):
            self._identifiers.setdefault(environment, {})[target.identifier] = None
            self.writer.arrived.set()
        else:
            self._drop(environment)

    async def run(self) -> None:
        """Move targets into the store until cancelled; call ``last_flush`` for the rest."""
        self.ready.set()
        await self.writer.run()

    async def last_flush(self, seconds: float) -> None:
        """Flush for up to ``seconds``; the rest is lost with the process, and counted."""
        await self.writer.last_flush(seconds)
        for environment, _ in self._waiting:
            self._drop(environment)

    async def _add_all(self, environment: EnvironmentId) -> None:
        """Queue what waits of an environment; raises ``StoreError`` if some of it still waits."""
        identifiers = list(self._identifiers.get(environment, ()))
        for start in range(0, len(identifiers), _CONCURRENT):
            adding = [self._add(environment, name) for name in identifiers[start : start + _CONCURRENT]]
            for failure in await asyncio.gather(*adding, return_exceptions=True):
                if failure is not None:
                    raise failure

    async def _add(self, environment: EnvironmentId, identifier: str) -> None:
        name = (environment, identifier)
        registration = self._waiting.peek(name)
        assert registration is not None  # noqa: S101  (only this takes it out, once at a time)
        try:
            added = await self._queue.add(registration)
        except StoreRefused as error:
            self._once.warning(_REFUSED, environment, error=str(error))
            added = False
        if not added:
            self._drop(environment)
        # If it was replaced meanwhile, the newer target is sent next.
        if self._waiting.peek(name) is registration:
            self._waiting.pop(name)
            del self._identifiers[environment][identifier]
            if not self._identifiers[environment]:
                del self._identifiers[environment]

    def _drop(self, environment: EnvironmentId) -> None:
        self._outcomes.labels(environment, "dropped").inc()


@final
class NullTargetIntake:
    """For modes that register no targets."""

    def register(self, environment: EnvironmentId, target: Target) -> None:
        """Nothing to do."""
        del environment, target
