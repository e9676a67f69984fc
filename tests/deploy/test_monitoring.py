"""Alerts and dashboard: each alert goes off when it should, and every query finds what it asks for."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import yaml
from prometheus_client import CollectorRegistry

from ff_proxy.telemetry.exposition import GO_COUNTERS
from ff_proxy.telemetry.metrics import Metrics
from tests.deploy.harness import ENV_FILE, HOST_PATH, NOBODY, SHELL, start_sandbox
from tests.support.certificates import make_certificate
from tests.support.containers import Container, Mount, Network, Spec, wait_for
from tests.support.image import PROJECT, Image

RULES: Final = PROJECT / "deploy/prometheus/ff-proxy.rules.yml"
DASHBOARD: Final = PROJECT / "deploy/grafana/ff-proxy.json"
ENVIRONMENT: Final = "11111111-1111-4111-8111-111111111111"

CERTIFICATE: Final = 'certificate="server"'
AUTH: Final = 'url="/client/auth",method="POST"'
MEMBER: Final = 'job="ff-proxy",instance="one:9102"'
OTHER: Final = 'job="ff-proxy",instance="two:9102"'
ENV: Final = 'envID="e"'
DAY: Final = 86_400

# Series that make each alert go off, one value a minute: at minute 30 it is firing.
FIRING: Final[Mapping[str, Mapping[str, str]]] = {
    "FFProxyDown": {f"up{{{MEMBER}}}": "1x10 0x60"},
    "FFProxyNotReady": {f"ff_proxy_ready{{{MEMBER}}}": "0x60"},
    "FFProxyDegraded": {f"ff_proxy_degraded{{{MEMBER}}}": "2x60"},
    "FFProxyDataOld": {f"ff_proxy_environment_data_age_seconds{{{MEMBER},{ENV}}}": "0+60x60"},
    "FFProxyDataVeryOld": {f"ff_proxy_environment_data_age_seconds{{{MEMBER},{ENV}}}": "3000+60x60"},
    "FFProxyMembersNotInStep": {
        f"ff_proxy_environment_revision{{{MEMBER},{ENV}}}": "7x60",
        f"ff_proxy_environment_revision{{{OTHER},{ENV}}}": "6x60",
        f"ff_proxy_leading{{{MEMBER},{ENV}}}": "1x60",
        f"ff_proxy_leading{{{OTHER},{ENV}}}": "0x60",
    },
    "FFProxyNobodyLeads": {
        f"ff_proxy_leading{{{MEMBER},{ENV}}}": "1x10 0x60",
        f"ff_proxy_leading{{{OTHER},{ENV}}}": "0x60",
    },
    "FFProxyStoreDown": {f"ff_proxy_store_up{{{MEMBER}}}": "0x60"},
    "FFProxyKeysOld": {f"ff_proxy_environment_keys_age_seconds{{{MEMBER},{ENV}}}": "0+120x60"},
    "FFProxyUsageQueueFilling": {f"ff_proxy_usage_queued{{{MEMBER},{ENV}}}": "60000x60"},
    # From nothing, as a counter of incidents comes.
    "FFProxyUsageDropped": {f'ff_proxy_usage_dropped_total{{{MEMBER},{ENV},reason="no room"}}': "_x25 3x60"},
    "FFProxySDKsRefused": {f'ff_proxy_http_requests_total{{{MEMBER},{ENV},code="403",{AUTH}}}': "0+60x60"},
    "FFProxyErrors": {f'ff_proxy_http_requests_total{{{MEMBER},{ENV},code="500",{AUTH}}}': "0+60x60"},
    "FFProxyConnectionsRefused": {
        f'ff_proxy_connections_refused_total{{{MEMBER},reason="limit"}}': "_x25 1x60"
    },
    "FFProxyCertificateEnds": {
        f"ff_proxy_certificate_expiry_seconds{{{MEMBER},{CERTIFICATE}}}": f"{10 * DAY}x120"
    },
    "FFProxyCertificateEndsNow": {
        f"ff_proxy_certificate_expiry_seconds{{{MEMBER},{CERTIFICATE}}}": f"{DAY}x120"
    },
    "FFProxyRestarts": {f"process_start_time_seconds{{{MEMBER}}}": "1x10 2x5 3x5 4x40"},
    "FFProxyWorkerRestarts": {
        f'ff_proxy_process_starts_total{{{MEMBER},process="worker-1"}}': "1x10 2x5 3x5 5x40"
    },
    "FFProxyServiceFailed": {f'ff_proxy_service_failures_total{{{MEMBER},service="lease"}}': "_x25 1x60"},
    "FFProxyLoopHeld": {
        f'ff_proxy_event_loop_lag_seconds_bucket{{{MEMBER},le="0.1"}}': "0+10x60",
        f'ff_proxy_event_loop_lag_seconds_bucket{{{MEMBER},le="0.25"}}': "0+100x60",
        f'ff_proxy_event_loop_lag_seconds_bucket{{{MEMBER},le="+Inf"}}': "0+100x60",
    },
}
HEALTHY: Final[Mapping[str, str]] = {
    f"up{{{MEMBER}}}": "1x120",
    f"ff_proxy_ready{{{MEMBER}}}": "1x120",
    f"ff_proxy_degraded{{{MEMBER}}}": "0x120",
    f"ff_proxy_environment_data_age_seconds{{{MEMBER},{ENV}}}": "0x120",
    # Two proxies that know nothing of each other: both lead, and count for themselves.
    f"ff_proxy_environment_revision{{{MEMBER},{ENV}}}": "7x120",
    f"ff_proxy_environment_revision{{{OTHER},{ENV}}}": "3x120",
    f"ff_proxy_leading{{{MEMBER},{ENV}}}": "1x120",
    f"ff_proxy_leading{{{OTHER},{ENV}}}": "1x120",
    f"ff_proxy_store_up{{{MEMBER}}}": "1x120",
    f"ff_proxy_environment_keys_age_seconds{{{MEMBER},{ENV}}}": "30x120",
    f"ff_proxy_usage_queued{{{MEMBER},{ENV}}}": "900x120",
    f'ff_proxy_usage_dropped_total{{{MEMBER},{ENV},reason="no room"}}': "3x120",
    f'ff_proxy_usage_dropped_total{{{MEMBER},{ENV},reason="bad"}}': "0+1x120",
    f'ff_proxy_http_requests_total{{{MEMBER},{ENV},code="200",{AUTH}}}': "0+600x120",
    f'ff_proxy_http_requests_total{{{MEMBER},{ENV},code="403",{AUTH}}}': "0+1x120",
    f"ff_proxy_certificate_expiry_seconds{{{MEMBER},{CERTIFICATE}}}": f"{80 * DAY}x120",
    f"process_start_time_seconds{{{MEMBER}}}": "1x120",
    f'ff_proxy_process_starts_total{{{MEMBER},process="worker-1"}}': "1x120",
    f'ff_proxy_event_loop_lag_seconds_bucket{{{MEMBER},le="0.1"}}': "0+100x120",
    f'ff_proxy_event_loop_lag_seconds_bucket{{{MEMBER},le="+Inf"}}': "0+100x120",
}
# They come with their incident, and a proxy at peace does not have them.
OF_INCIDENTS: Final = {
    "ff_proxy_usage_dropped_total",
    "ff_proxy_connections_refused_total",
    "ff_proxy_service_failures_total",
}
NOT_OURS: Final = {"up", "ALERTS"}

pytestmark = pytest.mark.timeout(900)  # the first test waits for the image, with its downloads


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, its variables filled in as Grafana fills them in."""
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    queries += [one["expr"] for one in dashboard["annotations"]["list"]]
    for name, value in (("$__rate_interval", "1m"), ("$__range", "1h")):
        queries = [query.replace(name, value) for query in queries]
    return [re.sub(r"\$\w+", ".*", query) for query in queries]


def names_in(query: str) -> set[str]:
    """The metrics that a query asks for."""
    return set(re.findall(r"\b(?:ff_proxy_\w+|process_\w+|up|ALERTS)\b(?=[\[{ )]|$)", query))


def test_each_alert_goes_off_in_its_incident_and_none_at_peace(tmp_path: Path) -> None:
    """As Prometheus' own tests of rules see it."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on PATH")
    assert set(FIRING) == set(alerts())
    assert all({"severity"} == set(rule["labels"]) for rule in alerts().values())
    assert all({"summary", "description"} == set(rule["annotations"]) for rule in alerts().values())
    tests = [_rule_test(series, name, "100m" if "Ends" in name else "30m") for name, series in FIRING.items()]
    tests.append(_rule_test(HEALTHY, None, "100m"))
    file = tmp_path / "alerts.test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": tests}))
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(file)]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_is_asked_for_is_declared() -> None:
    """Also those that come with an incident, and with the labels that the query names."""
    registry = CollectorRegistry()
    Metrics(registry)
    declared = {metric.name: metric.type for metric in registry.collect()}
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    known = {name + suffix for name, kind in declared.items() for suffix in suffixes.get(kind, ("",))} | set(
        GO_COUNTERS
    )
    for query in [rule["expr"] for rule in alerts().values()] + dashboard_queries():
        assert names_in(query), query
        assert names_in(query) <= known | NOT_OURS, query


def test_every_query_finds_something_at_a_live_proxy(image: Image, network: Network, tmp_path: Path) -> None:
    """A real Prometheus scrapes a proxy with several processes and TLS, and has no alert at peace."""
    prometheus = _start(image, network, tmp_path)
    queries = [rule["expr"] for rule in alerts().values()] + dashboard_queries()
    asked = sorted({name for query in queries for name in names_in(query)} - NOT_OURS - OF_INCIDENTS)

    def missing() -> list[str]:
        assert prometheus.running(), prometheus.said
        return [name for name in asked if not _query(network, f"count({name})")]

    wait_for(lambda: not missing(), "every series", lambda: f"missing: {missing()}\n{network.logs()}")
    for query in queries:
        _query(network, query)
    found = {query: _query(network, query) for query in dashboard_queries()}
    empty = {
        query
        for query, result in found.items()
        if not result and not names_in(query) & (OF_INCIDENTS | NOT_OURS)
    }
    assert not empty
    active = json.loads(network.curl("http://prometheus:9090/api/v1/alerts"))["data"]["alerts"]
    assert [one["labels"]["alertname"] for one in active] == []


def _start(image: Image, network: Network, directory: Path) -> Container:
    """Sandbox, proxy with an SDK that does a little of everything, Prometheus."""
    start_sandbox(network, image)
    tls = directory / "tls"
    tls.mkdir()
    _, key = make_certificate(tls, days=60)
    key.chmod(0o644)
    tls.chmod(0o755)
    client = "http://saas:7100/api/1.0"
    environ = {
        **image.environ,
        **ENV_FILE,
        "ADMIN_SERVICE": "http://saas:7100/gateway/cf",
        **dict.fromkeys(("CLIENT_SERVICE", "METRIC_SERVICE", "SDK_BASE_URL", "SDK_EVENTS_URL"), client),
        "WORKERS": "2",
        "PROMETHEUS_PORT": "9102",
        "METRIC_POST_DURATION": "1",
        "TLS_ENABLED": "true",
        "TLS_CERT": "/tls/server.crt",
        "TLS_KEY": "/tls/server.key",
    }
    spec = Spec("proxy", image.root, image.config["Entrypoint"], environ, [Mount(tls, "/tls")])
    proxy = network.run(replace(spec, user=NOBODY, group=NOBODY))
    network.until_ok(proxy, "--insecure", "https://proxy:7000/health/ready")
    shipped = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())
    shipped["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    shipped["rule_files"] = ["/etc/prometheus/ff-proxy.rules.yml"]
    (job,) = shipped["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["ff-proxy:9102"]}]
    job["static_configs"] = [{"targets": ["proxy:9102"]}]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(shipped))
    mounts = [
        Mount(directory / "prometheus.yml", "/prometheus.yml"),
        Mount(RULES, "/etc/prometheus/ff-proxy.rules.yml"),
    ]
    command = ["prometheus", "--config.file=/prometheus.yml", "--storage.tsdb.path=/tmp/tsdb"]
    prometheus = network.run(Spec("prometheus", Path("/"), command, HOST_PATH, mounts))
    network.until_ok(prometheus, "http://prometheus:9090/-/ready")
    _behave_like_an_sdk(network)
    return prometheus


def _behave_like_an_sdk(network: Network) -> None:
    """Authenticate (with a wrong key too), fetch, stream for a moment, see a change, and post usage."""
    url = "https://proxy:7000"
    network.try_curl("--insecure", "--data", '{"apiKey": "wrong"}', f"{url}/client/auth")
    body = json.dumps({"apiKey": SHELL["ENV_1_KEY"], "target": {"identifier": "zoe"}})
    answer = network.curl("--insecure", "--fail", "--data", body, f"{url}/client/auth")
    headers = [
        *("--header", f"Authorization: Bearer {json.loads(answer)['authToken']}"),
        *("--header", f"API-Key: {SHELL['ENV_1_KEY']}"),
        *("--header", "Harness-SDK-Info: Go 0.1.23 Server"),
    ]
    network.curl("--insecure", "--fail", *headers, f"{url}/client/env/{ENVIRONMENT}/feature-configs")
    opened = network.inside("curl", "-sNk", "--max-time", "30", *headers, f"{url}/stream")
    with subprocess.Popen(opened, stdout=subprocess.PIPE) as stream:
        assert stream.stdout is not None
        stream.stdout.readline()
        flip = '{"flag": "dark_mode", "environment": "development"}'
        network.curl("--fail", "--data", flip, "http://saas:7100/sandbox/flip")
        assert any(b"dark_mode" in line for line in iter(stream.stdout.readline, b""))
        stream.kill()
    names = {"featureIdentifier": "dark_mode", "featureName": "dark_mode", "variationIdentifier": "true"}
    names |= {"target": "zoe", "SDK_TYPE": "server", "SDK_LANGUAGE": "go", "SDK_VERSION": "0.1.23"}
    attributes = [{"key": key, "value": value} for key, value in names.items()]
    entry = {"timestamp": 1, "count": 1, "metricsType": "FFMETRICS", "attributes": attributes}
    usage = json.dumps({"metricsData": [entry]})
    kind = ("--header", "Content-Type: application/json")
    network.curl("--insecure", "--fail", *headers, *kind, "--data", usage, f"{url}/metrics/{ENVIRONMENT}")


def _query(network: Network, query: str) -> list[Any]:
    answer = json.loads(network.curl(f"http://prometheus:9090/api/v1/query?{urlencode({'query': query})}"))
    assert answer["status"] == "success", (query, answer)
    result: list[Any] = answer["data"]["result"]
    return result


def _rule_test(series: Mapping[str, str], alert: str | None, when: str) -> dict[str, Any]:
    labels: Sequence[str] = [alert] if alert else []
    only = f',alertname="{alert}"' if alert else ""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (alertname) (ALERTS{{alertstate="firing"{only}}})',
                "eval_time": when,
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in labels],
            }
        ],
    }
