"""Spans and metrics at an OpenTelemetry collector, from real processes, and a collector that is not there."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ff_proxy import __version__
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.collector import Collector, attributes_of, collector
from tests.support.ports import free_port
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually

FETCH: Final = "GET /client/env/{env}/feature-configs"
TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
CALLER: Final = "b7ad6b7169203331"
FETCHES: Final = 30
DATA_AGE: Final = "ff_proxy_environment_data_age_seconds"
_SERVER: Final = Span.SpanKind.SPAN_KIND_SERVER


@asynccontextmanager
async def proxy(tmp_path: Path, environ: dict[str, str], **options: str) -> AsyncIterator[Proxy]:
    """One that is ready, with these variables."""
    async with sandbox(*default_environments()) as saas:
        made = Proxy(
            online_options(saas, KEYS.values()) | {"shutdown-delay": "0"} | options, tmp_path / "log"
        )
        made.environ = {"OTEL_METRIC_EXPORT_INTERVAL": "200"} | environ
        try:
            await made.start()
            yield made
            await made.stop()
        finally:
            await made.kill()


async def use(proxy: Proxy) -> None:
    """Fetches of equal bytes, of one with a trace, and what has no span."""
    async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
        for _ in range(FETCHES):
            assert (await client.get("/feature-configs")).status_code == HTTPStatus.OK
        fields = client.headers | {
            "traceparent": f"00-{TRACE}-{CALLER}-01",
            "Harness-SDK-Info": "Python 1 Server",
        }
        await client.http.get(f"/client/env/{DEV}/feature-configs", headers=fields)
        await client.http.get("/nowhere")
        await client.http.get("/health/live")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_every_request_is_a_span_and_every_figure_arrives(tmp_path: Path, workers: str) -> None:
    """Also those that are answered from memory; with workers the figures are those of all, and come once."""
    with collector() as collected:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=ours",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        async with proxy(tmp_path, environ, workers=workers) as running:
            await use(running)

            async def counted() -> bool:
                return _fetches(collected) >= FETCHES + 1 and DATA_AGE in collected.figures

            await eventually(counted)
        # All that waited has been sent by now.
        assert collected.headers["api-key"] == "ours"
        names = Counter(span.name for span in collected.spans)
        assert names[FETCH] == FETCHES + 1
        assert names["GET other"] == 1
        assert names["POST /client/auth"] == 1
        assert not any("health" in name or "metrics" in name for name in names)
        (traced,) = [span for span in collected.spans if span.trace_id.hex() == TRACE]
        assert (traced.parent_span_id.hex(), traced.kind) == (CALLER, _SERVER)
        facts = attributes_of(traced.attributes)
        assert facts["http.response.status_code"] == HTTPStatus.OK
        assert facts["ff_proxy.environment"] == DEV
        assert facts["ff_proxy.sdk"] == "Python 1 Server"
        assert 0 < traced.end_time_unix_nano - traced.start_time_unix_nano < 10**10
        for resource in collected.resources.values():
            assert resource["service.name"] == "ff-proxy"
            assert resource["service.version"] == __version__
            assert resource["deployment.environment.name"] == "test"
        processes = {name.rpartition("/")[2] for name in collected.resources}
        assert processes <= ({"main"} if workers == "1" else {"sync", "worker-1", "worker-2"})
        assert _fetches(collected) == FETCHES + 1


async def test_an_own_name_and_a_sampler_are_followed(tmp_path: Path) -> None:
    """As everywhere with OpenTelemetry."""
    with collector() as collected:
        environ = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collected.url}/v1/traces",
            "OTEL_SERVICE_NAME": "flags",
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        }
        async with proxy(tmp_path, environ) as running:
            await use(running)
        # The only one whose caller is sampled.
        assert [span.trace_id.hex() for span in collected.spans] == [TRACE]
        assert {resource["service.name"] for resource in collected.resources.values()} == {"flags"}
        assert collected.figures == {}


async def test_a_collector_that_refuses_costs_a_line(tmp_path: Path) -> None:
    """Nobody is refused anything for it; the end is in time."""
    with collector() as collected:
        collected.status = HTTPStatus.FORBIDDEN
        async with proxy(tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": collected.url}) as running:
            await use(running)

            async def asked() -> bool:
                return collected.asked > 3

            await eventually(asked)
        lines = _lines(running)
        assert sum(line["event"] == "metrics do not reach the OpenTelemetry collector" for line in lines) == 1
        assert "Traceback" not in running.log.read_text()


async def test_a_collector_that_is_away_holds_up_no_end(tmp_path: Path) -> None:
    """Nothing listens there."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    async with proxy(tmp_path, environ, **{"shutdown-deadline": "4"}) as running:
        await use(running)
    assert "hangs" not in running.log.read_text()
    assert "Traceback" not in running.log.read_text()


@pytest.mark.parametrize(
    ("environ", "event"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "OpenTelemetry cannot be used, nothing is sent"),
        ({"PYTHONPATH": "{shim}"}, "OpenTelemetry's variables are set, but its SDK is not installed"),
    ],
)
async def test_what_cannot_be_sent_is_said_at_the_start(
    tmp_path: Path, environ: dict[str, str], event: str
) -> None:
    """In one line, and the proxy serves."""
    missing = tmp_path / "shim/opentelemetry"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text('raise ImportError("not installed")\n')
    environ = {name: value.format(shim=missing.parent) for name, value in environ.items()}
    with collector() as collected:
        async with proxy(tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": collected.url} | environ) as running:
            await use(running)
        assert collected.asked == 0
    assert [line for line in _lines(running) if line["event"].startswith(event)]
    assert "Traceback" not in running.log.read_text()


def _fetches(collected: Collector) -> float:
    requests = collected.figures.get("ff_proxy_http_requests", Metric())
    return sum(
        float(point.as_double)
        for point in requests.sum.data_points
        if attributes_of(point.attributes).get("url") == FETCH.removeprefix("GET ")
    )


def _lines(proxy: Proxy) -> list[dict[str, Any]]:
    return [json.loads(line) for line in proxy.log.read_text().splitlines()]
