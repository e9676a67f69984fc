"""Reads side by side with nginx serving the same bytes: one process each, in turns.

    python bench/reads.py [--rounds N] [--seconds S] [--scenario NAME ...]

Needs ``wrk`` and ``nginx`` on PATH. In every round each scenario is measured on both servers, so that
whatever else the machine does falls on both; medians over the rounds are printed, per second as wrk saw
it and per second of the server's CPU, with the ratio of the two servers within each round. The ratios are
what counts: wrk itself needs a core.
"""

import argparse
import asyncio
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, Python looks in its own directory only

from bench.generate import environment
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo, Item
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.model.wire.normalise import normalise_flag, normalise_segment
from tests.support.web import Site, serving

CONNECTIONS = 64
TICKS = os.sysconf("SC_CLK_TCK")
SIZES = (10, 100)
HOST = "127.0.0.1"
NGINX = """
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    large_client_header_buffers 4 16k;
    open_file_cache max=100;
    default_type application/json;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {host}:{port} backlog=4096;
        root {directory};
        add_header Cache-Control "private, no-cache";
        add_header Vary "Authorization, Accept-Encoding";
        add_header Access-Control-Allow-Origin "*";
    }}
}}
"""
# Every request carries a field that no other has: more of them than any memo keeps.
UNIQUE = """
local requests, count = {}, 0
init = function(args)
    for i = 1, 60000 do requests[i] = wrk.format(nil, nil, {["X-Trace"] = "trace-" .. i, %s}) end
end
request = function() count = count %% 60000 + 1; return requests[count] end
"""
TARGETS = """
local requests, count = {}, 0
init = function(args)
    local path = wrk.path
    for i = 1, 60000 do requests[i] = wrk.format(nil, (path:gsub("TARGET", "t" .. i)), {%s}) end
end
request = function() count = count %% 60000 + 1; return requests[count] end
"""


@dataclass(frozen=True)
class Server:
    """Where a server is, and the tag it gives to a path."""

    name: str
    pid: int
    port: int

    def cpu(self) -> float:
        """Seconds of CPU that it and its children have used."""
        return sum(_cpu(pid) for pid in (self.pid, *_children(self.pid)))


@dataclass(frozen=True)
class Scenario:
    """One way to ask; ``script`` is wrk's, with the header fields to be filled in."""

    name: str
    path: str
    headers: dict[str, str]
    script: str = ""
    nginx: bool = True


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument(
        "--scenario", nargs="*", default=[], help="only those whose name contains one of these"
    )
    parser.add_argument("--ordinary", action="store_true", help="let the ordinary routes answer everything")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--flags", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        uvloop.run(_serve(options.serve, options.flags, ordinary=options.ordinary))
        return
    for tool in ("wrk", "nginx"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not on PATH")
    print(
        f"{'scenario':<38}{'ours/s':>9}{'nginx/s':>9}{'ratio':>7}{'ours/cpu':>10}{'nginx/cpu':>10}{'ratio':>7}"
    )
    for size in SIZES:
        _measure(size, options.rounds, options.seconds, options.scenario, ordinary=options.ordinary)


def _measure(size: int, rounds: int, seconds: int, wanted: list[str], *, ordinary: bool) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours, token = stack.enter_context(_ours(size, ordinary=ordinary))
        name = _environment(size).id
        paths = [f"/client/env/{name}/{rest}" for rest in ("feature-configs", "target/t1/evaluations")]
        for path in paths:
            file = directory / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_fetch(ours.port, path, token)[1])
        nginx = stack.enter_context(_nginx(directory))
        for scenario in _scenarios(size, paths, token):
            if wanted and not any(part in scenario.name for part in wanted):
                continue
            results: dict[str, list[tuple[float, float]]] = {
                server.name: [] for server in (ours, nginx) if scenario.nginx or server is ours
            }
            for _ in range(rounds):
                for server in (ours, nginx):
                    if server.name in results:
                        results[server.name].append(_run(server, scenario, token, seconds))
            _show(scenario.name, results["ours"], results.get("nginx"))


def _scenarios(size: int, paths: list[str], token: str) -> list[Scenario]:
    flags, evaluations = paths
    bearer = {"Authorization": f"Bearer {token}"}
    new = evaluations.replace("/t1/", "/TARGET/")
    gzip = bearer | {"Accept-Encoding": "gzip"}
    return [
        Scenario(f"{size} flags, polled", flags, bearer),
        Scenario(f"{size} flags, first time", flags, bearer, UNIQUE),
        Scenario(f"{size} flags, unchanged (304)", flags, bearer | {"If-None-Match": "TAG"}),
        Scenario(f"{size} flags, unchanged, first time", flags, bearer | {"If-None-Match": "TAG"}, UNIQUE),
        Scenario(f"{size} flags, polled, gzip", flags, gzip, nginx=False),
        Scenario(f"{size} evaluations, same target", evaluations, bearer),
        Scenario(f"{size} evaluations, known, first time", evaluations, bearer, UNIQUE),
        Scenario(f"{size} evaluations, new targets", new, bearer, TARGETS, nginx=False),
    ]


def _run(server: Server, scenario: Scenario, token: str, seconds: int) -> tuple[float, float]:
    headers = dict(scenario.headers)
    if headers.get("If-None-Match") == "TAG":
        headers["If-None-Match"] = _tag(server.port, scenario.path, token)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if scenario.script:
            fields = ", ".join(f'["{name}"] = [==[{value}]==]' for name, value in headers.items())
            script.write(scenario.script % fields)
            script.flush()
            command += ["-s", script.name]
        else:
            command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        before = server.cpu()
        done = subprocess.run(
            [*command, f"http://{HOST}:{server.port}{scenario.path}"],
            capture_output=True,
            text=True,
            check=True,
        )
        used = server.cpu() - before
    if "Non-2xx" in done.stdout and "304" not in scenario.name and "unchanged" not in scenario.name:
        sys.exit(f"{server.name}, {scenario.name}: {done.stdout}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    total = re.search(r"(\d+) requests in", done.stdout)
    if rate is None or total is None:
        sys.exit(done.stdout)
    return float(rate[1]), int(total[1]) / used


def _show(name: str, ours: list[tuple[float, float]], nginx: list[tuple[float, float]] | None) -> None:
    line = f"{name:<38}"
    for part in (0, 1):
        line += f"{statistics.median(run[part] for run in ours):>{9 + part},.0f}"
        if nginx is None:
            line += f"{'-':>{9 + part}}{'-':>7}"
        else:
            ratios = [one[part] / other[part] for one, other in zip(ours, nginx, strict=True)]
            line += f"{statistics.median(run[part] for run in nginx):>{9 + part},.0f}"
            line += f"{statistics.median(ratios):>7.2f}"
    print(line, flush=True)


@contextmanager
def _ours(size: int, *, ordinary: bool) -> Iterator[tuple[Server, str]]:
    port = _free_port()
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", str(port), "--flags", str(size), *["--ordinary"] * ordinary],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            token = process.stdout.readline().strip()
            yield Server("ours", process.pid, port), token
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def _nginx(directory: Path) -> Iterator[Server]:
    port = _free_port()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, host=HOST, port=port))
    if os.getuid() == 0:
        directory.chmod(0o755)  # its worker is another user
    with subprocess.Popen(
        ["nginx", "-c", str(config), "-p", str(directory), "-e", str(directory / "error.log")]
    ) as process:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex((HOST, port)) == 0:
                        break
                time.sleep(0.05)
            yield Server("nginx", process.pid, port)
        finally:
            process.send_signal(signal.SIGTERM)


async def _serve(port: int, size: int, *, ordinary: bool) -> None:
    site = Site(port=port)
    if ordinary:
        site.edge.read = _nothing  # type: ignore[method-assign,assignment]  # so that all of it is lent out
    made = _environment(size)
    async with serving(site, made):
        print(site.token(made.id, "key"), flush=True)
        await asyncio.Event().wait()


def _nothing(*_: object) -> None:
    return None


def _environment(size: int) -> EnvironmentConfig:
    doc = environment(flags=size, rules=1)
    flags = [item for flag in doc["flags"] if isinstance(item := normalise_flag(flag), Item)]
    segments = [item for one in doc["segments"] if isinstance(item := normalise_segment(one), Item)]
    return EnvironmentConfig(
        EnvironmentInfo(EnvironmentId("0f5b6c1e-9f6b-4d6e-8a53-0b6d0a9b7c11"), "production"),
        {item.identifier: item for item in flags},
        {item.identifier: item for item in segments},
        frozenset([hash_key("key")]),
    )


def _fetch(port: int, path: str, token: str) -> tuple[str, bytes]:
    request = f"GET {path} HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    with socket.create_connection((HOST, port)) as connection:
        connection.sendall(request.encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode(), body


def _tag(port: int, path: str, token: str) -> str:
    head, _ = _fetch(port, path, token)
    found = re.search(r"(?i)^etag: (.*?)\r?$", head, re.MULTILINE)
    return found[1] if found else sys.exit(f"no tag: {head}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


if __name__ == "__main__":
    main()
