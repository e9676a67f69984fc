"""The metrics that the pages show, from all processes, and their history of the last hour."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from prometheus_client import Metric
from prometheus_client.samples import Sample

from ff_proxy.model.clock import Clock

INTERVAL_SECONDS: Final = 10.0
KEPT: Final = 361
_MOST_SDKS: Final = 200


class Sdk(msgspec.Struct, frozen=True):
    """An SDK version that has posted usage, and how often."""

    environment: str
    kind: str
    language: str
    version: str
    posts: int


class MetricValues(msgspec.Struct, frozen=True):
    """Counters since the start and current gauges; ``at`` is in seconds since the epoch."""

    at: float = 0.0
    requests: float = 0.0
    failed: float = 0.0
    events: float = 0.0
    usage_sent: float = 0.0
    usage_failed: float = 0.0
    usage_dropped: float = 0.0
    entries_dropped: Mapping[str, float] = {}
    streams: Mapping[str, int] = {}
    usage_waiting: Mapping[str, int] = {}
    queued: Mapping[str, float] = {}
    leading: frozenset[str] = frozenset()
    resident_bytes: float = 0.0
    cpu_seconds: float = 0.0
    open_files: float = 0.0
    service_failures: Mapping[str, float] = {}
    sdks: tuple[Sdk, ...] = ()

    @property
    def open_streams(self) -> int:
        """The number of SDK streams of all environments."""
        return sum(self.streams.values())


def read_metrics(metrics: Iterable[Metric], at: float) -> MetricValues:
    """Extract the values that the pages show from ``metrics``."""
    found = {metric.name: metric.samples for metric in metrics}

    def samples(name: str) -> list[Sample]:
        return [one for one in found.get(name, ()) if not one.name.endswith("_created")]

    def total(name: str, keep: Callable[[Sample], bool] = lambda _: True) -> float:
        return sum(one.value for one in samples(name) if keep(one))

    def by(name: str, label: str) -> dict[str, float]:
        sums: dict[str, float] = {}
        for one in samples(name):
            key = one.labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + one.value
        return {key: value for key, value in sums.items() if value}

    sdks = sorted(samples("ff_proxy_sdk_usage"), key=lambda one: -one.value)[:_MOST_SDKS]
    return MetricValues(
        at=at,
        requests=total("ff_proxy_http_requests"),
        failed=total("ff_proxy_http_requests", lambda one: one.labels.get("code", "")[:1] in {"4", "5"}),
        events=total("ff_proxy_sse_publish"),
        usage_sent=total("ff_proxy_metrics_forwarded", lambda one: one.labels.get("error") == "false"),
        usage_failed=total("ff_proxy_metrics_forwarded", lambda one: one.labels.get("error") == "true"),
        usage_dropped=total("ff_proxy_usage_dropped"),
        entries_dropped=by("ff_proxy_entries_dropped", "container"),
        streams={name: int(value) for name, value in by("ff_proxy_sdk_streams", "envID").items()},
        usage_waiting={name: int(value) for name, value in by("ff_proxy_usage_queued", "envID").items()},
        queued=by("ff_proxy_queue_entries", "queue"),
        leading=frozenset(by("ff_proxy_leading", "envID")),
        resident_bytes=total("process_resident_memory_bytes"),
        cpu_seconds=total("process_cpu_seconds"),
        open_files=total("process_open_fds"),
        service_failures=by("ff_proxy_service_failures", "service"),
        sdks=tuple(
            Sdk(
                one.labels.get("envID", ""),
                one.labels.get("sdk_type", ""),
                one.labels.get("sdk_language", ""),
                one.labels.get("sdk_version", ""),
                int(one.value),
            )
            for one in sdks
        ),
    )


class Series(msgspec.Struct, frozen=True):
    """Values over time: ``points`` are seconds before now and a value, oldest first."""

    name: str
    unit: str
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float | None:
        """The newest value."""
        return self.points[-1][1] if self.points else None


class History:
    """The service that samples the metrics every ``INTERVAL_SECONDS`` and keeps an hour of samples."""

    name = "admin history"

    def __init__(self, collect: Callable[[], Iterable[Metric]], clock: Clock) -> None:
        self.ready = asyncio.Event()
        self._collect = collect
        self._clock = clock
        self._kept: deque[MetricValues] = deque(maxlen=KEPT)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self._kept.append(_without_tables(await self.now()))
            self.ready.set()
            await self._clock.sleep(INTERVAL_SECONDS)

    async def now(self) -> MetricValues:
        """The current metrics."""
        return await asyncio.to_thread(lambda: read_metrics(self._collect(), self._clock.wall()))

    def charts(self) -> Sequence[Series]:
        """The last hour as charts."""
        return (
            self._rate("Requests", "per second", lambda one: one.requests),
            self._rate("Failed requests", "per second", lambda one: one.failed),
            self._level("SDK streams", "open", lambda one: float(one.open_streams)),
            self._level("Memory", "MiB", lambda one: one.resident_bytes / 2**20),
        )

    def _level(self, name: str, unit: str, value: Callable[[MetricValues], float]) -> Series:
        now = self._clock.wall()
        return Series(name, unit, tuple((now - one.at, value(one)) for one in self._kept))

    def _rate(self, name: str, unit: str, value: Callable[[MetricValues], float]) -> Series:
        now = self._clock.wall()
        kept = list(self._kept)
        points = [
            (now - new.at, max(0.0, value(new) - value(old)) / (new.at - old.at))
            for old, new in pairwise(kept)
            if new.at > old.at
        ]
        return Series(name, unit, tuple(points))


def _without_tables(values: MetricValues) -> MetricValues:
    """Only the values that charts need: an hour of tables would take megabytes."""
    return msgspec.structs.replace(values, sdks=(), queued={}, entries_dropped={}, service_failures={})
