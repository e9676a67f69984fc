"""Bodies that the kernel sends by itself."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ff_proxy.web.reply import Reply
from ff_proxy.web.sealed import Copied, Large, Sealed, Vault

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


@pytest.mark.parametrize("way", [Copied, Sealed])
def test_everything_arrives(way: type[Copied | Sealed], pair: tuple[socket.socket, socket.socket]) -> None:
    """In as many steps as the kernel takes; what it did not take is known."""
    one, other = pair
    with one, other:
        sealed = way(BODY)
        sent = sealed.send(one.fileno(), b"start")
        assert 5 < sent <= 5 + len(BODY)
        received = b""
        while len(received) < sent:
            received += other.recv(65536)
        assert received == (b"start" + BODY)[:sent]


@pytest.mark.parametrize("way", [Copied, Sealed])
def test_a_full_or_broken_connection_takes_nothing(
    way: type[Copied | Sealed], pair: tuple[socket.socket, socket.socket]
) -> None:
    """No exception: the transport will meet the same error."""
    one, other = pair
    with one:
        sealed = way(BODY)
        while sealed.send(one.fileno(), b"start"):
            pass
        assert sealed.send(one.fileno(), b"start") == 0
        other.close()
        assert sealed.send(one.fileno(), b"start") == 0


def open_files() -> int:
    """How many this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def timer(copying: float, passing_on: float) -> Iterator[float]:
    """A timer by which the two ways, tried in turn, take so long."""
    now = 0.0
    while True:
        for taken in (copying, passing_on):
            yield now
            now += taken
            yield now


@pytest.mark.parametrize(("copying", "passing_on", "files"), [(1.0, 2.0, 0), (2.0, 1.0, 1)])
def test_the_quicker_way_stays(
    pair: tuple[socket.socket, socket.socket], copying: float, passing_on: float, files: int
) -> None:
    """Whichever is used, all bytes arrive in order; a file that is not needed is closed."""
    one, other = pair
    body = BODY[:2000]
    before = open_files()
    with one, other:
        large = Large(body, timer(copying, passing_on).__next__)
        for _ in range(30):
            assert large.send(one.fileno(), b"start") == 5 + len(body)
            received = b""
            while len(received) < 5 + len(body):
                received += other.recv(65536)
            assert received == b"start" + body
        assert open_files() - before == files


def test_both_ways_are_tried_on_a_slow_connection_too(pair: tuple[socket.socket, socket.socket]) -> None:
    """What nothing was taken of says nothing about the ways."""
    one, other = pair
    with one, other:
        large = Large(BODY, time.perf_counter)
        taken = 0
        while sent := large.send(one.fileno(), b""):
            taken += sent
        assert large.send(one.fileno(), b"") == 0
        received = 0
        while received < taken:
            received += len(other.recv(1 << 20))
        assert large.send(one.fileno(), b"") > 0


def test_there_are_only_so_many() -> None:
    """One per reply; those that are forgotten make room."""
    vault = Vault(2)
    replies = [Reply(200, (), BODY) for _ in range(3)]
    first = vault.large(replies[0])
    assert first is not None
    assert vault.large(replies[0]) is first
    assert vault.large(replies[1]) is not None
    assert vault.large(replies[2]) is None
    del first, replies[0]
    assert vault.large(replies[1]) is not None
    assert Vault(0).large(Reply(200, (), BODY)) is None
