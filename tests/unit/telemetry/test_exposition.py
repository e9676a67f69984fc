"""The exposition: readable to Prometheus, under the Go proxy's names, whatever the labels hold."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families

from ff_proxy.telemetry.exposition import exposition
from ff_proxy.telemetry.metrics import Metrics

_TEXT = st.text(max_size=12)


@given(_TEXT, _TEXT, st.floats(allow_nan=False))
def test_any_label_and_number_is_read_back(one: str, other: str, value: float) -> None:
    """Quotes, line breaks, half characters (which become question marks)."""
    registry = CollectorRegistry()
    Gauge("some", 'A "quoted"\nhelp \\ text.', ("a", "b"), registry=registry).labels(one, other).set(value)
    (family,) = text_string_to_metric_families(exposition(registry.collect()).decode())
    (sample,) = family.samples
    readable = [text.encode("utf-8", "replace").decode() for text in (one, other)]
    assert ([sample.labels["a"], sample.labels["b"]], sample.value) == (readable, value)
    assert family.documentation == 'A "quoted"\nhelp \\ text.'


def test_counters_have_the_names_of_the_go_proxy() -> None:
    """Its own without an ending, ours with ``_total``; nobody says when a series was made."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.requests.labels("/a", "e", "200", "GET").inc()
    metrics.request_seconds.labels("/a", "e").observe(0.3)
    metrics.sdk_usage.labels("e", "server", "1", "go").inc()
    metrics.events_sent.labels("e").inc(3)
    metrics.usage_dropped.labels("e", "bad").inc()
    text = exposition(registry.collect()).decode()
    lines = text.splitlines()
    assert 'ff_proxy_http_requests_total{code="200",envID="e",method="GET",url="/a"} 1.0' in lines
    assert 'ff_proxy_http_requests_duration_bucket{envID="e",le="0.3",url="/a"} 1.0' in lines
    assert 'ff_proxy_sdk_usage{envID="e",sdk_language="go",sdk_type="server",sdk_version="1"} 1.0' in lines
    assert 'ff_proxy_sse_publish{environment="e"} 3.0' in lines
    name = "ff_proxy_{}_to_sdk_sse_producer_messages_published"
    assert f'{name.format("primary")}{{error="false",topic="e"}} 3.0' in lines
    assert name.format("replica") in exposition(registry.collect(), replica=True).decode()
    assert 'ff_proxy_usage_dropped_total{envID="e",reason="bad"} 1.0' in lines
    assert "_created" not in text


def test_a_family_is_declared_by_the_name_of_its_samples() -> None:
    """Otherwise Prometheus takes a counter for something untyped."""
    registry = CollectorRegistry()
    Counter("ff_proxy_sdk_usage", "Theirs.", registry=registry).inc()
    Counter("ff_proxy_ours", "Ours.", registry=registry).inc()
    lines = exposition(registry.collect()).decode().splitlines()
    assert "# TYPE ff_proxy_sdk_usage counter" in lines
    assert "# TYPE ff_proxy_ours_total counter" in lines
