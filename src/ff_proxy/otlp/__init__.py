"""Figures and requests to an OpenTelemetry collector (OTLP): the only room that knows OpenTelemetry's SDK.

The SDK is the extra ``ff-proxy[otel]`` and is configured by its standard variables; ``settings`` reads those
that decide whether anything is sent. Blocking calls run in threads that do not delay the end of the
process. It imports ``telemetry``, ``aio`` and ``model``; only ``app`` may import it, and only if
something is to be sent.
"""

from ff_proxy.otlp.settings import OtlpSettings, read_settings

__all__ = ["OtlpSettings", "read_settings"]
