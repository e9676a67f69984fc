"""Many clients that open streams, each at its own time, in one thread with epoll."""

import math
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.common.plan import BenchError
from bench.common.processes import HOST
from tests.support.resets import reset_when_closed

HEARTBEAT = b":\n\n"
_PATIENCE = 30.0
_SOURCES = 4
"""Loopback addresses to connect from: one has too few ports."""


@dataclass(slots=True)
class _Caller:
    sock: socket.socket
    place: int
    due: float
    sent: bool = False
    received: bytes = b""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Open streams; ``waits`` are the seconds that each took to open, in order."""

    sockets: Sequence[socket.socket]
    waits: Sequence[float]


@contextmanager
def crowd(port: int, request: bytes, delays: Sequence[float], until: bytes = HEARTBEAT) -> Iterator[Crowd]:
    """Streams that are opened ``delays`` seconds after now, and closed when the context ends.

    One is open when ``until`` has come on it. Raises ``BenchError`` if one is refused, or none opens for half
    a minute.
    """
    order = sorted(range(len(delays)), key=delays.__getitem__)
    callers: dict[int, _Caller] = {}
    waits = [math.nan] * len(delays)
    opened: list[socket.socket] = []
    poll = select.epoll()
    begun = moved = time.monotonic()
    dialled = 0
    try:
        while len(opened) < len(delays):
            now = time.monotonic()
            while dialled < len(order) and delays[order[dialled]] <= now - begun:
                place = order[dialled]
                caller = _Caller(_dial(port, place), place, begun + delays[place])
                callers[caller.sock.fileno()] = caller
                poll.register(caller.sock, select.EPOLLOUT)
                dialled += 1
                if dialled % 32 == 0:
                    break  # those who are through must be heard in between
            due = begun + delays[order[dialled]] - now if dialled < len(order) else 1.0
            for number, _ in poll.poll(max(0.0, min(due, 1.0))):
                caller = callers[number]
                if _goes_on(caller, request, until, poll):
                    moved = time.monotonic()
                    waits[caller.place] = moved - caller.due
                    opened.append(caller.sock)
                    poll.unregister(number)
            if callers and time.monotonic() - max(moved, begun + max(delays)) > _PATIENCE:
                raise BenchError(f"{len(delays) - len(opened)} of {len(delays)} streams did not open")
        yield Crowd(opened, waits)
    finally:
        poll.close()
        for caller in callers.values():
            caller.sock.close()


def _dial(port: int, place: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Closed, it must not keep its port from the servers of what is measured next.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reset_when_closed(sock)
    sock.bind((f"127.0.0.{2 + place % _SOURCES}", 0))
    sock.connect_ex((HOST, port))
    return sock


def _goes_on(caller: _Caller, request: bytes, until: bytes, poll: select.epoll) -> bool:
    """Advance a connection that is ready; whether its stream is open now."""
    if not caller.sent:
        caller.sock.sendall(request)
        caller.sent = True
        poll.modify(caller.sock, select.EPOLLIN)
        return False
    data = caller.sock.recv(65536)
    caller.received += data
    if not data or not b"HTTP/1.1 200".startswith(caller.received[:12]):
        raise BenchError(f"a stream was refused: {caller.received[:200]!r}")
    return until in caller.received
