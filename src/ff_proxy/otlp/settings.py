"""Reads the standard variables of OpenTelemetry that its SDK does not read itself."""

from collections.abc import Mapping
from typing import Final

import msgspec

_PROTOCOL: Final = "http/protobuf"
_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_INTERVAL_MILLISECONDS: Final = 60_000


class OtlpSettings(msgspec.Struct, frozen=True):
    """What is sent to a collector.

    Attributes:
        traces: spans of requests.
        metrics: the figures of ``/metrics``.
        interval: seconds between two exports of metrics.
        ignored: which variables are not followed, and why; for the log.
    """

    traces: bool = False
    metrics: bool = False
    interval: float = _INTERVAL_MILLISECONDS / 1000
    ignored: tuple[str, ...] = ()


def read_settings(environ: Mapping[str, str]) -> OtlpSettings:
    """What to send: each signal whose endpoint is set, or both if the common endpoint is.

    ``OTEL_SDK_DISABLED=true`` and ``OTEL_TRACES_EXPORTER=none`` (or ``OTEL_METRICS_EXPORTER``) switch off.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return OtlpSettings()
    ignored: list[str] = []
    traces, metrics = (_wanted(environ, signal, ignored) for signal in ("TRACES", "METRICS"))
    interval = _milliseconds(environ, ignored) / 1000 if metrics else OtlpSettings().interval
    return OtlpSettings(traces, metrics, interval, tuple(ignored))


def _wanted(environ: Mapping[str, str], signal: str, ignored: list[str]) -> bool:
    if not (
        environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    ):
        return False
    exporter = f"OTEL_{signal}_EXPORTER"
    chosen = [name.strip() for name in environ.get(exporter, "").split(",") if name.strip()] or ["otlp"]
    if "otlp" not in chosen:
        if chosen != ["none"]:
            ignored.append(
                f"{exporter}={','.join(chosen)} is not supported: use otlp or none; nothing is sent"
            )
        return False
    own = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    name = own if environ.get(own) else "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = environ.get(name) or _PROTOCOL
    if protocol != _PROTOCOL:
        ignored.append(
            f"{name}={protocol} is not supported: use {_PROTOCOL}, which collectors take on port 4318; "
            "nothing is sent"
        )
    return protocol == _PROTOCOL


def _milliseconds(environ: Mapping[str, str], ignored: list[str]) -> int:
    text = environ.get(_INTERVAL, "").strip()
    if text.isascii() and text.isdecimal() and 0 < int(text) < _INTERVAL_MILLISECONDS**2:
        return int(text)
    if text:
        ignored.append(f"{_INTERVAL}={text} is not a number of milliseconds: using {_INTERVAL_MILLISECONDS}")
    return _INTERVAL_MILLISECONDS
