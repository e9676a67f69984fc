"""Sends spans of requests to a collector, in batches."""

from collections.abc import Mapping
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ff_proxy import __version__
from ff_proxy.aio.daemon_thread import in_daemon_thread

_NANOSECONDS: Final = 1_000_000_000
_ERROR: Final = Status(StatusCode.ERROR)


class Spans:
    """Records spans, sampled by ``OTEL_TRACES_SAMPLER``; those that find the SDK's queue full are dropped."""

    def __init__(self, resource: Resource) -> None:
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("ff_proxy", __version__)
        self._parents = TraceContextTextMapPropagator()

    def record(
        self,
        name: str,
        ended: float,
        seconds: float,
        attributes: Mapping[str, str | int],
        *,
        traceparent: str = "",
        failed: bool = False,
    ) -> None:
        """Record a request that was answered.

        Args:
            name: method and route.
            ended: wall-clock seconds.
            seconds: how long it took.
            attributes: named as in the semantic conventions.
            traceparent: the header of the caller's span.
            failed: whether this is an error of the server.
        """
        parent = self._parents.extract({"traceparent": traceparent}) if traceparent else None
        span = self._tracer.start_span(
            name,
            context=parent,
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=int((ended - seconds) * _NANOSECONDS),
        )
        if failed:
            span.set_status(_ERROR)
        span.end(int(ended * _NANOSECONDS))

    async def finish(self) -> None:
        """Send what is queued, and stop."""
        await in_daemon_thread(self._provider.shutdown, "otlp spans")
