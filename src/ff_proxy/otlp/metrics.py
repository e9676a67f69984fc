"""Sends the metrics of ``/metrics`` to a collector."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric as Family
from prometheus_client.samples import Sample

from ff_proxy import __version__
from ff_proxy.aio.daemon_thread import in_daemon_thread
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import OnceLog

_NANOSECONDS: Final = 1_000_000_000
_SCOPE: Final = InstrumentationScope("ff_proxy", __version__)
_NOT_TAKEN: Final = "metrics do not reach the OpenTelemetry collector"
_Labels = tuple[tuple[str, str], ...]


class OtlpMetrics:
    """The service that sends what ``collect`` returns, every ``interval`` seconds and at the end."""

    name = "otlp metrics"

    def __init__(
        self,
        collect: Callable[[], Iterable[Family]],
        resource: Resource,
        interval: float,
        clock: Clock,
        once: OnceLog,
    ) -> None:
        self.ready = asyncio.Event()
        self._collect = collect
        self._resource = resource
        self._interval = interval
        self._clock = clock
        self._once = once
        self._began = _nanoseconds(clock.wall())
        self._exporter = OTLPMetricExporter()

    async def run(self) -> None:
        """Send until cancelled."""
        self.ready.set()
        while True:
            await self._clock.sleep(self._interval)
            await self.send()

    async def send(self) -> None:
        """Send once; a failure is logged, and its sums are part of the next ones."""
        if not await in_daemon_thread(self._export, self.name):
            self._once.warning(_NOT_TAKEN)

    def _export(self) -> bool:
        data = metrics_data(self._collect(), self._resource, self._began, _nanoseconds(self._clock.wall()))
        return self._exporter.export(data) is MetricExportResult.SUCCESS


def metrics_data(families: Iterable[Family], resource: Resource, began: int, now: int) -> MetricsData:
    """Prometheus families as OTLP metrics; sums since ``began``, times in nanoseconds since the epoch."""
    metrics = [metric for family in families for metric in _metrics(family, began, now)]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(_SCOPE, metrics, "")], "")])


def _metrics(family: Family, began: int, now: int) -> Iterator[Metric]:
    data: Sum | Gauge | Histogram
    if family.type == "histogram":
        data = Histogram(_histograms(family.samples, began, now), AggregationTemporality.CUMULATIVE)
    elif family.type == "counter":
        points = [
            _number(sample, began, now) for sample in family.samples if not sample.name.endswith("_created")
        ]
        data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    else:
        data = Gauge([_number(sample, None, now) for sample in family.samples])
    if data.data_points:
        yield Metric(family.name, family.documentation, "", data)


def _number(sample: Sample, began: int | None, now: int) -> NumberDataPoint:
    return NumberDataPoint(dict(sample.labels), began, now, sample.value)  # type: ignore[arg-type]  # gauges have none


def _histograms(samples: Iterable[Sample], began: int, now: int) -> list[HistogramDataPoint]:
    """One point for each set of labels; Prometheus buckets are cumulative, those of OTLP are not."""
    buckets: dict[_Labels, list[tuple[float, float]]] = {}
    sums: dict[_Labels, float] = {}
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        key = tuple(sorted(labels.items()))
        if sample.name.endswith("_bucket"):
            buckets.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_sum"):
            sums[key] = sample.value
    points = []
    for key, found in buckets.items():
        found.sort()
        totals = [0.0, *(total for _, total in found)]
        counts = [int(upper - lower) for lower, upper in pairwise(totals)]
        bounds = [bound for bound, _ in found[:-1]]
        count, total = int(totals[-1]), sums.get(key, 0.0)
        points.append(
            HistogramDataPoint(
                dict(key),
                began,
                now,
                count,
                total,
                counts,
                bounds,
                min=None,  # type: ignore[arg-type]  # unknown, and left out
                max=None,  # type: ignore[arg-type]  # likewise
            )
        )
    return points


def _nanoseconds(seconds: float) -> int:
    return int(seconds * _NANOSECONDS)
