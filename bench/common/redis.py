"""A Redis of one's own, that keeps nothing on disk."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from bench.common.plan import BenchError
from bench.common.processes import HOST, Server, free_port, running


@contextmanager
def redis_server() -> Iterator[Server]:
    """A running one, empty; raises ``BenchError`` if it does not start."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
    with running("redis-server", command, port) as server:
        yield server


def empty(server: Server) -> None:
    """Let it forget everything."""
    with socket.create_connection((HOST, server.port), 10) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        answer = connection.recv(100)
    if answer != b"+OK\r\n":
        raise BenchError(f"redis-server answered {answer!r}")
