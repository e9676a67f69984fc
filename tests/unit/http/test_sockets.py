"""Where the server listens, and what it says when it cannot."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ff_proxy.errors import StartupError
from ff_proxy.http.sockets import Listening, bind, bind_each, stop_listening


@contextmanager
def bound(port: int = 0, host: str | Path = "") -> Iterator[Listening]:
    """Sockets that are closed in the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(one) for one in bind(port, host)]


def port_of(listening: Listening) -> int:
    """The port that all of them have."""
    (port,) = {one.getsockname()[1] for one in listening}
    assert isinstance(port, int)
    return port


def test_by_default_it_listens_on_every_address() -> None:
    """IPv4 and IPv6, if the machine has both."""
    with bound() as listening:
        port = port_of(listening)
        socket.create_connection(("127.0.0.1", port)).close()
        if listening[0].family == socket.AF_INET6:
            socket.create_connection(("::1", port)).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_with_a_host_only_that_is_listened_on(host: str) -> None:
    """A name with all of its addresses."""
    with bound(host=host) as listening:
        port = port_of(listening)
        socket.create_connection((host, port)).close()
        assert {one.getsockname()[0] for one in listening} <= {"127.0.0.1", "::1"}


def test_a_unix_socket(tmp_path: Path) -> None:
    """In use while a process listens, replaced once none does."""
    path = tmp_path / "proxy.sock"
    with bound(host=path):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        with pytest.raises(StartupError, match="is in use"):
            bind(0, path)
    with bound(host=path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    path.unlink()
    path.write_text("mine")
    with pytest.raises(StartupError, match="-host or HOST"):
        bind(0, path)
    assert path.read_text() == "mine"


def test_a_port_in_use_is_reported() -> None:
    """In one line that says which option to change."""
    with bound() as taken:
        port = port_of(taken)
        with pytest.raises(StartupError, match=f"port {port} is in use; choose another one with -port"):
            bind(port)
        with pytest.raises(StartupError, match="with -prometheus-port or PROMETHEUS_PORT"):
            bind(port, option="prometheus-port")


def test_each_process_gets_its_own_socket_on_linux() -> None:
    """All on one port, which no other program gets; if one stops listening, the others get its share."""
    each = bind_each(0, 3)
    with ExitStack() as stack:
        for listening in each:
            for one in listening:
                stack.enter_context(one)
        port = port_of(each[0])
        assert {port_of(listening) for listening in each} == {port}
        with pytest.raises(StartupError, match="in use"):
            bind(port)
        if len({*map(id, each)}) == 1:
            return  # one socket for all: this system spreads nothing
        for resting in each[1:]:
            stop_listening(resting)
            stop_listening(resting)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)):
                each[0][0].accept()[0].close()
        each[1][0].listen()
        each[0][0].close()
        with socket.create_connection(("127.0.0.1", port)):
            each[1][0].setblocking(True)
            each[1][0].accept()[0].close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such name.invalid"])
def test_an_address_of_another_machine_is_an_error(host: str) -> None:
    """A message, not a traceback."""
    with pytest.raises(StartupError, match="cannot be used"):
        bind(0, host)
