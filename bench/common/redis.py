"""A private Redis that keeps nothing on disk."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.common.processes import HOST, Server, running
from tests.support.ports import free_port


@contextmanager
def redis_server() -> Iterator[Server]:
    """A running one, empty; raises ``BenchError`` if it does not start."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
    with running("redis-server", command, port) as server:
        yield server
