"""The shipped configurations of nginx, HAProxy and Envoy, each run as it is before a real proxy."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.harness import ENV_FILE, HOST_PATH, NOBODY, SHELL, start_sandbox
from tests.support.certificates import sign_certificate
from tests.support.containers import Container, Mount, Network, Spec, wait_for
from tests.support.image import PROJECT, Image, company_authority

DEPLOY: Final = PROJECT / "deploy"
ENVIRONMENT: Final = "11111111-1111-4111-8111-111111111111"
MEMBERS: Final = ("member-1", "member-2", "replica")
HEARTBEAT: Final = 15.0  # seconds between the proxy's own signs of life

GET_WITH_TARGET: Final = """
import pathlib, ssl, sys, urllib.request
url, authority, token, target = sys.argv[1:]
headers = {"Authorization": token, "Harness-Target": pathlib.Path(target).read_text()}
context = ssl.create_default_context(cafile=authority)
print(urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context).read().decode())
"""

pytestmark = pytest.mark.timeout(900)  # the first test waits for the image, with its downloads


def fronts() -> list[str]:
    """What can be run here; Debian has no Envoy, so that only machines that have one run it."""
    return ["nginx", "haproxy", *(["envoy"] if shutil.which("envoy") else [])]


@dataclass
class Front:
    """A program before the proxy, reachable as ``https://NAME.example.com``."""

    name: str
    container: Container

    @property
    def url(self) -> str:
        return f"https://{self.name}.example.com"


class Stream:
    """An SDK's stream, held by curl."""

    def __init__(self, network: Network, arguments: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                network.inside("curl", "--silent", "--show-error", "--no-buffer", *arguments),
                stdout=output,
                stderr=output,
            )

    def said(self) -> str:
        """Everything so far; the stream must still be open."""
        text = self._log.read_text()
        assert self._process.poll() is None, f"the stream has ended: {text}"
        return text

    def close(self) -> None:
        """Let go of it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def front(network: Network, image: Image, tmp_path: Path) -> list[Front]:
    """Sandbox, proxy, and every program that can be run here before it."""
    start_sandbox(network, image)
    certificate, key = sign_certificate(
        tmp_path / "tls", [f"{name}.example.com" for name in fronts()], company_authority()
    )
    (tmp_path / "tls/tls.crt").write_text(certificate.read_text())
    (tmp_path / "tls/tls.key").write_text(key.read_text())
    (tmp_path / "tls/tls.pem").write_text(certificate.read_text() + key.read_text())
    client = "http://saas:7100/api/1.0"
    options = dict.fromkeys(("CLIENT_SERVICE", "METRIC_SERVICE", "SDK_BASE_URL", "SDK_EVENTS_URL"), client)
    environ = {**image.environ, **ENV_FILE, "ADMIN_SERVICE": "http://saas:7100/gateway/cf", **options}
    proxy = network.run(
        Spec("proxy", image.root, image.config["Entrypoint"], environ, (), NOBODY, aliases=MEMBERS)
    )
    network.until_ok(proxy, "http://proxy:7000/health/ready")
    tls = tmp_path / "tls"
    commands: dict[str, tuple[list[str], list[Mount]]] = {
        "nginx": (
            ["nginx", "-g", "daemon off;"],
            [
                Mount(DEPLOY / "nginx/nginx.conf", "/etc/nginx/nginx.conf"),
                Mount(DEPLOY / "nginx/ff-proxy.conf", "/etc/nginx/conf.d/default.conf"),
                Mount(tls, "/etc/nginx/tls"),
            ],
        ),
        "haproxy": (
            ["haproxy", "-f", "/etc/haproxy/haproxy.cfg"],
            [
                Mount(DEPLOY / "haproxy/haproxy.cfg", "/etc/haproxy/haproxy.cfg"),
                Mount(tls, "/etc/haproxy/tls"),
            ],
        ),
        "envoy": (
            [shutil.which("envoy") or "envoy", "-c", "/etc/envoy/envoy.yaml", "--concurrency", "1"],
            [Mount(DEPLOY / "envoy/envoy.yaml", "/etc/envoy/envoy.yaml"), Mount(tls, "/etc/envoy/tls")],
        ),
    }
    found = []
    for name in fronts():
        command, mounts = commands[name]
        spec = Spec(
            name, Path("/"), command, HOST_PATH, mounts, capabilities=True, aliases=[f"{name}.example.com"]
        )
        found.append(Front(name, network.run(spec)))
    return found


def test_streams_stay_open_and_events_arrive_at_once(
    network: Network, front: list[Front], tmp_path: Path
) -> None:
    """Over HTTP/2 and HTTP/1.1, also after a silence that is as long as silences are."""
    with ExitStack() as stack:
        streams: dict[str, Stream] = {}
        for one in front:
            network.until_ok(one.container, *_trusted(), f"{one.url}/health/ready")
            for version in ("--http2", "--http1.1"):
                arguments = [*_trusted(), version, *_headers(network, one), f"{one.url}/stream"]
                stream = Stream(network, arguments, tmp_path / f"{one.name}{version}")
                streams[f"{one.name}{version}"] = stream
                stack.callback(stream.close)
        wait_for(
            lambda: all(":" in one.said() for one in streams.values()), "every stream to begin", network.logs
        )
        _flip(network)
        wait_for(
            lambda: all("dark_mode" in one.said() for one in streams.values()), "the event", network.logs
        )
        before = {name: _heartbeats(stream) for name, stream in streams.items()}
        wait_for(
            lambda: all(_heartbeats(stream) > before[name] for name, stream in streams.items()),
            "a heartbeat of each stream",
            network.logs,
        )
        seen = {name: stream.said().count("dark_mode") for name, stream in streams.items()}
        _flip(network)
        wait_for(
            lambda: all(stream.said().count("dark_mode") > seen[name] for name, stream in streams.items()),
            "the second event",
            network.logs,
        )


def test_targets_in_headers_are_as_large_as_the_sdk_sends_them(
    network: Network, front: list[Front], tmp_path: Path
) -> None:
    """And figures are not for the outside. Over HTTP/2 curl cannot send more than 64 KiB of headers."""
    small, large = tmp_path / "small", tmp_path / "large"
    for file, size in ((small, 60), (large, 200)):
        attributes = {f"attribute-{number}": "x" * 1000 for number in range(size)}
        file.write_text(json.dumps({"identifier": "zoe", "name": "Zoe", "attributes": attributes}))
    with_header = tmp_path / "header"
    with_header.write_text(f"Harness-Target: {small.read_text()}\n")
    for one in front:
        network.until_ok(one.container, *_trusted(), f"{one.url}/health/ready")
        evaluations = f"{one.url}/client/env/{ENVIRONMENT}/target/zoe/evaluations"
        headers = _headers(network, one)
        answer = network.curl(*_trusted(), "--fail", *headers, "--header", f"@{with_header}", evaluations)
        assert "dark_mode" in answer
        token = headers[1].removeprefix("Authorization: ")
        command = (
            sys.executable,
            "-c",
            GET_WITH_TARGET,
            evaluations,
            str(company_authority()[0]),
            token,
            str(large),
        )
        done = subprocess.run(
            network.inside(*command), capture_output=True, text=True, timeout=30, check=False
        )
        assert "dark_mode" in done.stdout, (one.name, done.stdout[-500:], done.stderr[-2000:])
        for path in ("/metrics", "/api/1.0/metrics"):
            status = network.curl(
                *_trusted(), "--output", "/dev/null", "--write-out", "%{http_code}", one.url + path
            )
            assert (one.name, status) == (one.name, "404")


def test_what_was_not_run_here_gives_streams_the_time_that_they_need() -> None:
    """Envoy ends a request after 15 seconds, and a silent one after five minutes, unless it is told."""
    config = yaml.safe_load((DEPLOY / "envoy/envoy.yaml").read_text())
    (listener,) = config["static_resources"]["listeners"]
    manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    (stream,) = [one for one in routes if "stream" in one["match"].get("safe_regex", {}).get("regex", "")]
    assert stream["route"]["timeout"] == "0s"
    assert float(manager["stream_idle_timeout"].rstrip("s")) > 2 * HEARTBEAT
    assert manager["max_request_headers_kb"] >= 256


def _trusted() -> list[str]:
    return ["--cacert", str(company_authority()[0])]


def _headers(network: Network, front: Front) -> list[str]:
    body = json.dumps({"apiKey": SHELL["ENV_1_KEY"], "target": {"identifier": "zoe"}})
    answer = network.curl("--fail", *_trusted(), "--data", body, f"{front.url}/client/auth")
    token = json.loads(answer)["authToken"]
    return ["--header", f"Authorization: Bearer {token}", "--header", f"API-Key: {SHELL['ENV_1_KEY']}"]


def _flip(network: Network) -> None:
    network.curl(
        "--fail",
        "--data",
        '{"flag": "dark_mode", "environment": "development"}',
        "http://saas:7100/sandbox/flip",
    )


def _heartbeats(stream: Stream) -> int:
    return sum(line.startswith(":") for line in stream.said().splitlines())
