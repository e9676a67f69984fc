"""Request metrics: counted in plain numbers, and added to the Prometheus metrics once a second."""

from typing import Final

from ff_proxy.api.access_log import AccessLog
from ff_proxy.http.observer import Answered, Tally
from ff_proxy.http.routes import Match
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.metrics import SECONDS, add_timed

_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST"})
UNCOUNTED: Final = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Health and metrics routes, which are not counted."""


class RequestMetrics:
    """An ``Observer`` that counts requests by route, environment, status and method.

    Labels are bounded: only loaded environments have one, and unknown paths are ``other``.
    """

    def __init__(
        self, telemetry: Telemetry, snapshots: SnapshotRegistry, access_log: AccessLog | None = None
    ) -> None:
        self._access_log: AccessLog | None = None
        self.log_to(access_log)
        self._requests = telemetry.metrics.requests
        self._seconds = telemetry.metrics.request_seconds
        self._body_bytes = telemetry.metrics.body_bytes
        self._snapshots = snapshots
        self._tallies: dict[tuple[str, EnvironmentId, int, str], Tally] = {}

    def log_to(self, access_log: AccessLog | None) -> None:
        """Switch to another access log; ``None`` turns it off."""
        if self._access_log is not None:
            self._access_log.end()
        self._access_log = access_log
        self.logs = access_log is not None and access_log.all
        self.logs_errors = access_log is not None

    def tally(self, method: str, match: Match | None, status: int, label: str = "") -> Tally:
        """See ``Observer``; health and metrics requests are not counted."""
        if match is None:
            return self._tally_for("other", EnvironmentId(""), status, method)
        if match.label in UNCOUNTED:
            return Tally(SECONDS)
        return self._tally_for(
            match.label, self._environment(label or match.params.get("env", "")), status, method
        )

    def answered(self, answered: Answered, data: bytes = b"") -> None:
        """See ``Observer``."""
        if self._access_log is not None:
            self._access_log.write(answered, data)

    def repeated(self, data: bytes, peer: str, seconds: float) -> bool:
        """See ``Observer``."""
        return self._access_log is None or self._access_log.repeat(data, peer, seconds)

    def body_bytes(self, match: Match, length: int) -> None:
        """See ``Observer``."""
        environment = self._environment(match.params.get("env", ""))
        self._body_bytes.labels(match.label, environment).observe(length)

    def tick(self) -> None:
        """See ``Observer``."""
        self.fold()
        if self._access_log is not None:
            self._access_log.tick()

    def fold(self) -> None:
        """Add the counts to the metrics."""
        for (route, environment, status, method), tally in self._tallies.items():
            if tally.count:
                self._requests.labels(route, environment, str(status), method).inc(tally.count)
                add_timed(self._seconds.labels(route, environment), tally.count, tally.timed, tally.seconds)
                tally.clear()

    def _environment(self, named: str) -> EnvironmentId:
        environment = EnvironmentId(named)
        return environment if self._snapshots.get(environment) is not None else EnvironmentId("")

    def _tally_for(self, route: str, environment: EnvironmentId, status: int, method: str) -> Tally:
        key = (route, environment, status, method if method in _METHODS else "other")
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(SECONDS)
        return tally
