"""Health endpoints, for tools of the Go proxy v1 and for orchestrators (spec/behaviour#endpoints)."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

import msgspec

from ff_proxy.errors import StoreError
from ff_proxy.http.request import Request
from ff_proxy.http.response import UNAVAILABLE, Response, json_response
from ff_proxy.model.environment import UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.protocol import StatusReader

_MILLISECONDS: Final = 1000
# A hanging store must not make a probe time out.
_ANSWER_SECONDS: Final = 0.5
_encode: Final = msgspec.json.Encoder().encode


class DataAges(Protocol):
    """The age of the served data."""

    @property
    def data_age(self) -> float | None:
        """Seconds since the stalest environment was in sync with Harness; ``None`` without an upstream."""
        ...


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
        ages: DataAges,
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
