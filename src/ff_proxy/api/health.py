"""The proxy's health: endpoints (spec/behaviour#endpoints), log lines, and readiness that stays."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final, final

import msgspec
from msgspec.structs import replace

from ff_proxy.api.ports import LoadedEnvironments
from ff_proxy.errors import StoreError
from ff_proxy.http.request import Request
from ff_proxy.http.response import UNAVAILABLE, Response, json_response
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.environment_metrics import EnvironmentMetrics
from ff_proxy.store.protocol import StatusReader
from ff_proxy.telemetry import Telemetry

_MILLISECONDS: Final = 1000
# A hanging store must not make a probe time out.
_ANSWER_SECONDS: Final = 0.5
_encode: Final = msgspec.json.Encoder().encode


@final
class StickyReadiness:
    """Keeps a proxy ready once it was (spec/behaviour#readiness).

    Neither a restarted sync process nor a store that lost its data withdraws it.

    Args:
        current: returns the readiness of the sync process or store.
        loaded: the environments this process serves.
    """

    def __init__(self, current: Callable[[], Readiness], loaded: LoadedEnvironments) -> None:
        self._current = current
        self._loaded = loaded
        self._was_ready = False

    def __call__(self) -> Readiness:
        """The current readiness; once ready, pending reasons count as ``degraded`` while data is served."""
        state = self._current()
        if state.ready:
            self._was_ready = True
        elif self._was_ready and (served := len(self._loaded.names)):
            degraded = (*state.degraded, *state.pending)
            return replace(state, loaded=max(state.loaded, served), pending=(), degraded=degraded)
        return state


class Health:
    """Answers the health endpoints.

    Args:
        environments: returns the environments to list: the configured ones; for a replica all.
        statuses: the upstream status of each environment.
        readiness: returns the current readiness.
        draining: whether the process is shutting down.
        ages: the age of the data.
    """

    def __init__(
        self,
        environments: Callable[[], Collection[EnvironmentId]],
        statuses: StatusReader,
        readiness: Callable[[], Readiness],
        draining: Callable[[], bool],
        ages: EnvironmentMetrics,
    ) -> None:
        self._environments = environments
        self._statuses = statuses
        self._readiness = readiness
        self._draining = draining
        self._ages = ages
        self._last: Mapping[EnvironmentId, UpstreamStatus] = {}

    async def overview(self, request: Request) -> Response:
        """``GET /health`` as the Go proxy v1 answers it; ``since`` in epoch seconds."""
        del request
        healthy = True
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                self._last = await self._statuses.statuses()
        except (StoreError, TimeoutError):
            healthy = False
        unknown = UpstreamStatus()
        environments = []
        for environment in sorted(self._environments()):
            status = self._last.get(environment, unknown)
            stream = {"state": status.state.value, "since": status.since // _MILLISECONDS}
            environments.append({"id": environment, "streamStatus": stream})
        cache = "healthy" if healthy else "unhealthy"
        return json_response(200, _encode({"environments": environments, "cacheStatus": cache}))

    @staticmethod
    def live(request: Request) -> Response:
        """``GET /health/live``: always 200."""
        del request
        return json_response(200, b'{"status":"live"}')

    def ready(self, request: Request) -> Response:
        """``GET /health/ready``: 200 ``ready`` or ``degraded``, 503 ``starting`` or ``draining``."""
        del request
        readiness = self._readiness()
        reasons = (*readiness.pending, *readiness.degraded, *readiness.refused)
        if self._draining():
            return self._state(UNAVAILABLE, "draining", ("the process is shutting down", *reasons))
        if not readiness.ready:
            return self._state(UNAVAILABLE, "starting", reasons or ("no environment is loaded yet",))
        return self._state(200, "degraded" if readiness.degraded else "ready", reasons)

    def _state(self, status: int, state: str, reasons: Collection[str]) -> Response:
        body: dict[str, object] = {"status": state, "reasons": list(reasons)}
        if (age := self._ages.data_age) is not None:
            body["dataAgeSeconds"] = round(age, 1)
        return json_response(status, _encode(body))


class HealthLog:
    """The service that logs readiness every ``interval`` seconds (option ``heartbeat-interval``)."""

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
