"""What the standard variables of OpenTelemetry want of us; the SDK itself reads all others."""

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
        odd: what in the variables is not followed, and why; for the log.
    """

    traces: bool = False
    metrics: bool = False
    interval: float = _INTERVAL_MILLISECONDS / 1000
    odd: tuple[str, ...] = ()


def read_settings(environ: Mapping[str, str]) -> OtlpSettings:
    """What is to be sent: a signal whose endpoint is given, or both if the common endpoint is.

    ``OTEL_SDK_DISABLED=true`` and ``OTEL_TRACES_EXPORTER=none`` (or ``OTEL_METRICS_EXPORTER``) switch off.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return OtlpSettings()
    odd: list[str] = []
    traces, metrics = (_wanted(environ, signal, odd) for signal in ("TRACES", "METRICS"))
    interval = _milliseconds(environ, odd) / 1000 if metrics else OtlpSettings().interval
    return OtlpSettings(traces, metrics, interval, tuple(odd))


def _wanted(environ: Mapping[str, str], signal: str, odd: list[str]) -> bool:
    if not (
        environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    ):
        return False
    exporter = f"OTEL_{signal}_EXPORTER"
    chosen = [name.strip() for name in environ.get(exporter, "").split(",") if name.strip()] or ["otlp"]
    if "otlp" not in chosen:
        if chosen != ["none"]:
            odd.append(f"{exporter}={','.join(chosen)} is not supported: use otlp or none; nothing is sent")
        return False
    own = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    name = own if environ.get(own) else "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = environ.get(name) or _PROTOCOL
    if protocol != _PROTOCOL:
        odd.append(
            f"{name}={protocol} is not supported: use {_PROTOCOL}, which collectors take on port 4318; "
            "nothing is sent"
        )
    return protocol == _PROTOCOL


def _milliseconds(environ: Mapping[str, str], odd: list[str]) -> int:
    text = environ.get(_INTERVAL, "").strip()
    if text.isascii() and text.isdecimal() and 0 < int(text) < _INTERVAL_MILLISECONDS**2:
        return int(text)
    if text:
        odd.append(f"{_INTERVAL}={text} is no number of milliseconds: {_INTERVAL_MILLISECONDS} is used")
    return _INTERVAL_MILLISECONDS
