"""Where the listener listens, and what it says when it cannot."""

import socket
from contextlib import ExitStack

import pytest

from ff_proxy.errors import StartupError
from ff_proxy.web.server import bind, bind_each, stop_listening


def test_by_default_it_listens_on_every_address() -> None:
    """In both families, where the machine has both."""
    with bind(0) as listening:
        port = listening.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
        if listening.family == socket.AF_INET6:
            socket.create_connection(("::1", port)).close()


def test_a_port_that_is_taken_is_named() -> None:
    """In one line that says what to change."""
    with bind(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"port {port} is in use; choose another one with -port"):
            bind(port)


def test_each_process_gets_a_socket_of_its_own_where_the_system_spreads_connections() -> None:
    """All of one port, which nobody else gets; one that rests leaves its share to the others."""
    sockets = bind_each(0, 3)
    with ExitStack() as stack:
        for listening in sockets:
            stack.enter_context(listening)
        port = sockets[0].getsockname()[1]
        assert {listening.getsockname()[1] for listening in sockets} == {port}
        with pytest.raises(StartupError, match="in use"):
            bind(port)
        if len({*map(id, sockets)}) == 1:
            return  # one socket for all: this system spreads nothing
        for resting in sockets[1:]:
            stop_listening(resting)
            stop_listening(resting)
        sockets[0].setblocking(False)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)):
                sockets[0].accept()[0].close()
        sockets[1].listen()
        sockets[0].close()
        with socket.create_connection(("127.0.0.1", port)):
            sockets[1].accept()[0].close()


def test_an_address_that_is_not_ours_is_an_error() -> None:
    """Not a traceback."""
    with pytest.raises(StartupError, match="cannot be used"):
        bind(0, "192.0.2.1")
