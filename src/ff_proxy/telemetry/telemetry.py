"""What rooms report to: their logs and the metrics."""

import io
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Metric

from ff_proxy.errors import StoreError, UpstreamError
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry.exposition import exposition
from ff_proxy.telemetry.failures import Failures
from ff_proxy.telemetry.grouped_lines import GroupedLines
from ff_proxy.telemetry.levels import LogLevels
from ff_proxy.telemetry.log_ring import LogRing, RecentLines
from ff_proxy.telemetry.logs import Logger, OnceLog, make_logger
from ff_proxy.telemetry.metrics import Metrics, without_forgotten
from ff_proxy.telemetry.notices import Notices
from ff_proxy.telemetry.sampling import Sampler
from ff_proxy.telemetry.troubles import Troubles


class Telemetry:
    """A logger per room, and the process's metrics.

    Args:
        logger: where lines go.
        clock: used to space repeated lines.
        shown: the registry that is exposed; by default, one with the metrics of this process.
        replica: this process never talks to Harness; some metrics have other names then.
        recent: has the last lines of ``logger``, and of other processes if there are any.

    Attributes:
        began: when it was created, about when the process started; in seconds of the monotonic clock.
        grouped_lines: the service that writes lines about many environments, to be run while others work.
        sampler: the service that updates metrics that change with time only.
        harness: logs that Harness cannot be used, and that it can again.
        store: logs the same of the store.
    """

    def __init__(
        self,
        logger: Logger,
        clock: Clock,
        *,
        shown: CollectorRegistry | None = None,
        replica: bool = False,
        recent: RecentLines | None = None,
    ) -> None:
        self.recent: RecentLines = recent if recent is not None else LogRing()
        self.began = clock.monotonic()
        self._logger = logger
        self._clock = clock
        self._replica = replica
        registry = CollectorRegistry()
        self._shown = shown if shown is not None else registry
        self.metrics = Metrics(registry)
        self.failures = Failures(self.logger("runtime"), self.once("runtime"), self.metrics.service_failures)
        self.sampler = Sampler(clock, self.failures)
        self.grouped_lines = GroupedLines(clock)
        self.harness = Troubles(
            "Harness cannot be used",
            "Harness can be used again",
            self.logger("upstream"),
            self.grouped_lines,
        )
        self.store = Troubles(
            "the store cannot be used",
            "the store can be used again",
            self.logger("store"),
            self.grouped_lines,
            word="subject",
        )
        self._notices: dict[str, Notices] = {}

    def logger(self, room: str) -> Logger:
        """A logger whose lines carry ``component=room``."""
        return self._logger.bind(component=room)

    def once(self, room: str, interval: float = 300.0) -> OnceLog:
        """A logger for trouble that repeats; ``interval`` in seconds between two equal lines."""
        return OnceLog(self.logger(room), self._clock, interval)

    def notices(self, room: str) -> Notices:
        """Grouped log lines about environments; all callers in a room share one."""
        if room not in self._notices:
            self._notices[room] = Notices(self.logger(room), self.grouped_lines)
        return self._notices[room]

    def drain_log(self) -> None:
        """At the end of the process: write the lines that a slow reader has not taken yet."""
        self._logger.drain()

    @property
    def levels(self) -> LogLevels:
        """Which lines are written; they can be changed."""
        return self._logger.levels

    def now(self) -> float:
        """The monotonic second."""
        return self._clock.monotonic()

    @property
    def debugging(self) -> bool:
        """Whether DEBUG lines are written, at least for some environment."""
        return self._logger.debugging

    def trouble(self, error: UpstreamError | StoreError, doing: str, environment: str = "") -> None:
        """Report that ``doing`` something for ``environment`` failed; see ``recovered``."""
        troubles = self.harness if isinstance(error, UpstreamError) else self.store
        troubles.failed(error, doing, environment)

    def recovered(self, doing: str, environment: str = "") -> None:
        """Report that ``doing`` something for ``environment`` works."""
        self.harness.answered(doing, environment)
        self.store.answered(doing, environment)

    def withdraw(self, environment: str) -> None:
        """Forget the failures of an environment that this process does not synchronise any more."""
        self.failures.withdraw(environment)
        self.harness.withdraw(environment)
        self.store.withdraw(environment)

    def dropped(self, container: str) -> Callable[[int], object]:
        """The counter of entries that ``container`` drops (see ``bounded.BoundedMap``)."""
        return self.metrics.entries_dropped.labels(container).inc

    def collect(self) -> Iterable[Metric]:
        """The current metrics, of all processes of the proxy."""
        return map(without_forgotten, self._shown.collect())

    def exposition(self) -> bytes:
        """The metrics as Prometheus text."""
        return exposition(self.collect(), replica=self._replica)


class _StoppedClock:
    def wall(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError(seconds)


def null_telemetry() -> Telemetry:
    """Telemetry that goes nowhere: for tests, and for commands that have nothing to report."""
    return Telemetry(make_logger("ERROR", io.StringIO()), _StoppedClock())
