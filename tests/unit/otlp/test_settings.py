"""Which of OpenTelemetry's variables make us send what."""

import pytest

from ff_proxy.otlp.settings import OtlpSettings, read_settings

URL = "http://collector:4318"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, (False, False)),
        ({"OTEL_SERVICE_NAME": "flags", "OTEL_TRACES_EXPORTER": "otlp"}, (False, False)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL}, (True, True)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL}, (True, False)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": URL}, (False, True)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_TRACES_EXPORTER": "none"}, (False, True)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_METRICS_EXPORTER": "none"}, (True, False)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SDK_DISABLED": "TRUE"}, (False, False)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, (True, True)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, (False, False)),
    ],
)
def test_a_signal_is_sent_where_an_endpoint_is_given(
    environ: dict[str, str], wanted: tuple[bool, bool]
) -> None:
    """And nothing says no."""
    settings = read_settings(environ)
    assert (settings.traces, settings.metrics) == wanted
    assert settings.ignored == ()


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", (False, False)),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json", (True, False)),
        ("OTEL_TRACES_EXPORTER", "jaeger", (False, True)),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon", (True, True)),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-5", (True, True)),
        ("OTEL_METRIC_EXPORT_INTERVAL", "9" * 30, (True, True)),
    ],
)
def test_what_is_not_followed_is_said(name: str, value: str, sent: tuple[bool, bool]) -> None:
    """With the variable, and what would be understood."""
    settings = read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, name: value})
    assert (settings.traces, settings.metrics) == sent
    assert settings.ignored
    assert all(text.startswith(f"{name}={value} ") for text in settings.ignored)
    assert settings.interval == OtlpSettings().interval


def test_the_interval_is_in_milliseconds() -> None:
    """As the specification has it."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_METRIC_EXPORT_INTERVAL": "250"}
    assert read_settings(environ).interval == 0.25
