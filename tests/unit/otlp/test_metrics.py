"""Prometheus' families as OTLP has them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Metric, Sum
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as PrometheusCounter
from prometheus_client import Gauge as PrometheusGauge
from prometheus_client import Histogram as PrometheusHistogram

from ff_proxy.otlp.metrics import metrics_data
from ff_proxy.telemetry import null_telemetry

BOUNDS = (0.1, 1.0, 5.0)


def sent(registry: CollectorRegistry) -> dict[str, Metric]:
    """Everything in it, by name."""
    (resource,) = metrics_data(registry.collect(), Resource({}), 5, 9).resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 10)), max_size=30))
def test_a_histogram_counts_each_value_in_its_own_bucket(values: list[tuple[str, float]]) -> None:
    """Whatever was observed; Prometheus' buckets hold those of all smaller ones as well."""
    registry = CollectorRegistry()
    histogram = PrometheusHistogram("took", "Seconds.", ["route"], buckets=BOUNDS, registry=registry)
    for route, seconds in values:
        histogram.labels(route).observe(seconds)
    found = sent(registry)
    assert bool(found) == bool(values)
    for metric in found.values():
        assert isinstance(metric.data, Histogram)
        assert len(metric.data.data_points) == len({route for route, _ in values})
        for point in metric.data.data_points:
            own = [value for route, value in values if route == (point.attributes or {})["route"]]
            assert point.explicit_bounds == list(BOUNDS)
            edges = [float("-inf"), *BOUNDS, float("inf")]
            assert list(point.bucket_counts) == [
                sum(low < value <= high for value in own) for low, high in pairwise(edges)
            ]
            assert (point.count, point.start_time_unix_nano, point.time_unix_nano) == (len(own), 5, 9)
            assert abs(point.sum - sum(own)) < 1e-6


def test_counters_are_sums_and_everything_else_is_a_gauge() -> None:
    """With the time since which a sum is counted; names are those of the families."""
    registry = CollectorRegistry()
    PrometheusCounter("seen", "How many.", ["kind"], registry=registry).labels("odd").inc(3)
    PrometheusGauge("open", "How many now.", registry=registry).set(7)
    found = sent(registry)
    assert set(found) == {"seen", "open"}
    seen, opened = found["seen"].data, found["open"].data
    assert isinstance(seen, Sum)
    assert isinstance(opened, Gauge)
    assert seen.is_monotonic
    (count,) = seen.data_points
    assert (count.value, count.attributes, count.start_time_unix_nano) == (3, {"kind": "odd"}, 5)
    assert [point.value for point in opened.data_points] == [7]


def test_every_figure_of_ours_is_sent() -> None:
    """All that have a value."""
    telemetry = null_telemetry()
    families = {family.name for family in telemetry.collect() if family.samples}
    (resource,) = metrics_data(telemetry.collect(), Resource({}), 5, 9).resource_metrics
    assert {metric.name for metric in resource.scope_metrics[0].metrics} == families
