"""Moving what SDKs send into the store, so that no environment waits for another."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final

from ff_proxy.aio.keyed_locks import KeyedLocks
from ff_proxy.aio.waits import finish
from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.telemetry import Telemetry

# A cancelled write has this long to end: the store may have made it already.
_GRACE: Final = 5.0
_PAUSE: Final = 1.0


async def _at_once() -> None:
    """Do not wait for more."""


class StoreWriter:
    """Writes what waits for the store, one environment beside the other; one that fails is tried again.

    Trouble is reported by a log line when it begins, one when it ends, and a reason in readiness.

    Args:
        what: what waits, for these lines.
        waiting: the environments that have something waiting.
        write: writes what waits of an environment; raises ``StoreError`` if some of it still waits.
        clock: time.
        telemetry: for the log.

    Attributes:
        arrived: to be set when something arrives.
    """

    def __init__(
        self,
        what: str,
        waiting: Callable[[], Collection[EnvironmentId]],
        write: Callable[[EnvironmentId], Awaitable[None]],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self.arrived: Final = asyncio.Event()
        self._what: Final = what
        self._waiting = waiting
        self._write = write
        self._clock = clock
        self._once = telemetry.once("usage")
        self._log = telemetry.logger("usage")
        self._refuses = f"store does not accept {what}, keeping them in memory"
        self._trouble: dict[EnvironmentId, str] = {}
        self._busy: set[EnvironmentId] = set()
        self._locks: KeyedLocks[EnvironmentId] = KeyedLocks()

    async def run(self, gather: Callable[[], Awaitable[None]] = _at_once) -> None:
        """Write until cancelled; ``gather`` is awaited when something has arrived, and may wait for more."""
        # A run that failed may have left something behind, also in environments that it had not begun with.
        self._busy.clear()
        if self._waiting():
            self.arrived.set()
        async with asyncio.TaskGroup() as group:
            while True:
                await self.arrived.wait()
                await gather()
                self.arrived.clear()
                for environment in set(self._waiting()) - self._busy:
                    self._busy.add(environment)
                    group.create_task(self._keep_writing(environment))

    async def flush(self) -> bool:
        """Try once to write everything that waits; returns whether the store took it."""
        written = await asyncio.gather(*map(self._try_to_write, self._waiting()), return_exceptions=True)
        for outcome in written:
            if isinstance(outcome, BaseException):
                raise outcome
        return all(written)

    async def last_flush(self, seconds: float) -> None:
        """Flush for up to ``seconds``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.flush()

    def merge_into(self, readiness: Readiness) -> Readiness:
        """Add the trouble, unless something else is said already: a store that is away has many effects."""
        if not self._trouble or readiness.degraded:
            return readiness
        return readiness.with_degraded(f"{self._refuses}: {next(iter(self._trouble.values()))}")

    async def _keep_writing(self, environment: EnvironmentId) -> None:
        try:
            while not await finish(self._try_to_write(environment), _GRACE):
                await self._clock.sleep(_PAUSE)
        finally:
            self._busy.discard(environment)
        if environment in self._waiting():  # it came meanwhile
            self.arrived.set()

    async def _try_to_write(self, environment: EnvironmentId) -> bool:
        async with self._locks.held(environment):
            try:
                await self._write(environment)
            except StoreError as error:
                self._trouble[environment] = str(error)
                self._once.warning(self._refuses, error=str(error))
                return False
        if self._trouble.pop(environment, "") and not self._trouble and self._once.forget(self._refuses):
            self._log.info(f"store accepts {self._what} again")
        return True
