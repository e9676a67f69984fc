"""Where the listener listens, and what it says when it cannot."""

import socket

import pytest

from ff_proxy.errors import StartupError
from ff_proxy.web.server import bind


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


def test_an_address_that_is_not_ours_is_an_error() -> None:
    """Not a traceback."""
    with pytest.raises(StartupError, match="cannot be used"):
        bind(0, "192.0.2.1")
