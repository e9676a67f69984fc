"""The one object that rooms report to."""

import io
from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest

from ff_proxy.model.clock import Clock
from ff_proxy.telemetry.failures import Failures
from ff_proxy.telemetry.logs import Logger, OnceLog, make_logger
from ff_proxy.telemetry.metrics import Metrics


class Telemetry:
    """A logger per room and the process's figures.

    Args:
        logger: where lines go.
        clock: used to space repeated lines.
        registry: where the figures are registered; a fresh one by default.
        shown: what is given out; by default these figures and no others.
    """

    def __init__(
        self,
        logger: Logger,
        clock: Clock,
        registry: CollectorRegistry | None = None,
        *,
        shown: CollectorRegistry | None = None,
    ) -> None:
        self._logger = logger
        self._clock = clock
        registered = registry if registry is not None else CollectorRegistry()
        self._shown = shown if shown is not None else registered
        self.metrics = Metrics(registered)
        self.failures = Failures(self.logger("runtime"), self.once("runtime"), self.metrics.service_failures)

    def logger(self, room: str) -> Logger:
        """A logger whose lines carry ``component=room``."""
        bind = getattr(self._logger, "bind", None)
        bound: Logger = bind(component=room) if bind is not None else self._logger
        return bound

    def once(self, room: str, interval: float = 300.0) -> OnceLog:
        """A logger for trouble that repeats; ``interval`` in seconds between two equal lines."""
        return OnceLog(self.logger(room), self._clock, interval)

    def dropped(self, container: str) -> Callable[[int], object]:
        """What counts the entries that ``container`` drops (see ``bounded.BoundedMap``)."""
        return self.metrics.entries_dropped.labels(container).inc

    def exposition(self) -> bytes:
        """The figures as Prometheus text."""
        return generate_latest(self._shown)


class _StoppedClock:
    def wall(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError(seconds)


def null_telemetry() -> Telemetry:
    """Telemetry that nobody sees: for tests, and for commands that have nothing to report."""
    return Telemetry(make_logger("ERROR", io.StringIO()), _StoppedClock())
