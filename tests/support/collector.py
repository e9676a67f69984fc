"""An OpenTelemetry collector that takes OTLP over HTTP and keeps what it gets."""

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_TRACES: Final = "/v1/traces"
_METRICS: Final = "/v1/metrics"


class Collector:
    """What has been sent to it.

    Attributes:
        url: the common endpoint.
        status: what it answers; what it refuses it does not keep.
        asked: how often it was sent something.
        headers: of the last request.
        resources: the attributes of everybody who has sent something, by ``service.instance.id``.
        spans: all of them.
        figures: the newest metrics, by name; of all who send.
    """

    def __init__(self) -> None:
        self.url = ""
        self.status = HTTPStatus.OK
        self.asked = 0
        self.headers: Mapping[str, str] = {}
        self.resources: dict[str, Mapping[str, Any]] = {}
        self.spans: list[Span] = []
        self.figures: dict[str, Metric] = {}

    def take(self, path: str, body: bytes) -> None:
        """Decode and keep one request."""
        if path == _TRACES:
            for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
                self._know(sent.resource.attributes)
                self.spans += [span for scope in sent.scope_spans for span in scope.spans]
        else:
            assert path == _METRICS, path
            for gauged in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self._know(gauged.resource.attributes)
                for scope in gauged.scope_metrics:
                    self.figures |= {metric.name: metric for metric in scope.metrics}

    def _know(self, attributes: Any) -> None:
        known = attributes_of(attributes)
        self.resources[known["service.instance.id"]] = known


def attributes_of(sent: Any) -> dict[str, Any]:
    """Attributes as a dictionary."""
    return {one.key: _value(one) for one in sent}


def _value(one: KeyValue) -> Any:
    kind = one.value.WhichOneof("value")
    assert kind is not None
    return getattr(one.value, kind)


@contextmanager
def collector() -> Iterator[Collector]:
    """One on loopback."""
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.asked += 1
            made.headers = dict(self.headers)
            status = made.status
            if status == HTTPStatus.OK:
                packed = self.headers.get("Content-Encoding") == "gzip"
                made.take(self.path, gzip.decompress(body) if packed else body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
