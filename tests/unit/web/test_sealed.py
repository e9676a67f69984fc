"""Bodies that the kernel sends by itself."""

import socket

import pytest

from ff_proxy.web.reply import Reply
from ff_proxy.web.sealed import Sealed, Vault

BODY = bytes(range(256)) * 4000


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends; the first does not wait."""
    listening = socket.create_server(("127.0.0.1", 0))
    other = socket.create_connection(listening.getsockname())
    one, _ = listening.accept()
    listening.close()
    one.setblocking(False)
    return one, other


def test_everything_arrives(pair: tuple[socket.socket, socket.socket]) -> None:
    """In as many steps as the kernel takes; what it did not take is known."""
    one, other = pair
    with one, other:
        sealed = Sealed(BODY)
        sent = sealed.send(one.fileno(), b"start")
        assert 5 < sent <= 5 + len(BODY)
        received = b""
        while len(received) < sent:
            received += other.recv(65536)
        assert received == (b"start" + BODY)[:sent]


def test_a_full_or_broken_connection_takes_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    """No exception: the transport will meet the same error."""
    one, other = pair
    with one:
        sealed = Sealed(BODY)
        while sealed.send(one.fileno(), b"start"):
            pass
        assert sealed.send(one.fileno(), b"start") == 0
        other.close()
        assert sealed.send(one.fileno(), b"start") == 0


def test_there_are_only_so_many() -> None:
    """One per reply; those that are forgotten make room."""
    vault = Vault(2)
    replies = [Reply(200, (), BODY) for _ in range(3)]
    first = vault.sealed(replies[0])
    assert first is not None
    assert vault.sealed(replies[0]) is first
    assert vault.sealed(replies[1]) is not None
    assert vault.sealed(replies[2]) is None
    del first, replies[0]
    assert vault.sealed(replies[1]) is not None
    assert Vault(0).sealed(Reply(200, (), BODY)) is None
