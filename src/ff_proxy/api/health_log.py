"""Logs the proxy's health periodically (option ``heartbeat-interval``)."""

import asyncio
from collections.abc import Callable

from ff_proxy.model.clock import Clock
from ff_proxy.model.readiness import Readiness
from ff_proxy.telemetry import Telemetry


class HealthLog:
    """The service that logs readiness every ``interval`` seconds."""

    name = "health log"

    def __init__(
        self, readiness: Callable[[], Readiness], interval: float, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.ready = asyncio.Event()
        self._readiness = readiness
        self._interval = interval
        self._clock = clock
        self._log = telemetry.logger("heartbeat")

    async def run(self) -> None:
        """Log until cancelled."""
        self.ready.set()
        while True:
            await self._clock.sleep(self._interval)
            state = self._readiness()
            facts = {"pending": state.pending, "degraded": state.degraded, "refused": state.refused}
            fields = {name: list(reasons) for name, reasons in facts.items() if reasons}
            if not state.ready:
                self._log.warning("heartbeat not ready", environments=state.loaded, **fields)
            elif state.degraded:
                self._log.warning("heartbeat degraded", environments=state.loaded, **fields)
            else:
                self._log.info("heartbeat healthy", environments=state.loaded, **fields)
