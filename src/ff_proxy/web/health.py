"""How the proxy is: for v1's tools, for orchestrators, for Prometheus (PRODUCT §3)."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from ff_proxy.errors import StoreError
from ff_proxy.model.environment import UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.protocol import StatusReader
from ff_proxy.telemetry import Telemetry
from ff_proxy.web.counts import Counts
from ff_proxy.web.problems import UNAVAILABLE
from ff_proxy.web.reply import NO_STORE, Reply, json_reply

_METRICS_TYPE: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_MILLISECONDS: Final = 1000
# A store that says nothing must not make a probe give up.
_ANSWER_SECONDS: Final = 0.5
_encode: Final = msgspec.json.Encoder().encode


class Gate:
    """Whether the process still wants requests."""

    def __init__(self) -> None:
        self.draining = False


class Health:
    """Answers what operators ask.

    Args:
        environments: those that this proxy is configured to serve, at any time; a replica: all.
        statuses: how their upstream is doing.
        readiness: how far loading has come.
        gate: whether the process is going down.
        counts: folded before figures are given out.
        telemetry: the figures.
    """

    def __init__(
        self,
        environments: Callable[[], Collection[EnvironmentId]],
        statuses: StatusReader,
        readiness: Callable[[], Readiness],
        gate: Gate,
        counts: Counts,
        telemetry: Telemetry,
    ) -> None:
        self._environments = environments
        self._statuses = statuses
        self._readiness = readiness
        self._gate = gate
        self._counts = counts
        self._telemetry = telemetry
        self._last: Mapping[EnvironmentId, UpstreamStatus] = {}

    async def overview(self) -> Reply:
        """``GET /health`` as the Go proxy v1 answers it; ``since`` in epoch seconds."""
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
        return json_reply(200, _encode({"environments": environments, "cacheStatus": cache}))

    async def live(self) -> Reply:
        """``GET /health/live``: the process answers."""
        return json_reply(200, b'{"status":"live"}')

    async def ready(self) -> Reply:
        """``GET /health/ready``: 200 ``ready`` or ``degraded``, 503 ``starting`` or ``draining``."""
        readiness = self._readiness()
        reasons = (*readiness.pending, *readiness.degraded, *readiness.refused)
        if self._gate.draining:
            return _state(UNAVAILABLE, "draining", ("the process is shutting down", *reasons))
        if not readiness.ready:
            return _state(UNAVAILABLE, "starting", reasons or ("no environment is loaded yet",))
        return _state(200, "degraded" if readiness.degraded else "ready", reasons)

    async def metrics(self) -> Reply:
        """``GET /metrics``: the figures as Prometheus text."""
        self._counts.fold()
        # A thousand environments take a second, and several processes more: others are answered meanwhile.
        text = await asyncio.to_thread(self._telemetry.exposition)
        return Reply(200, (_METRICS_TYPE, (b"content-length", b"%d" % len(text)), NO_STORE), text)


def _state(status: int, state: str, reasons: Collection[str]) -> Reply:
    return json_reply(status, _encode({"status": state, "reasons": list(reasons)}))
