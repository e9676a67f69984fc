"""Ports of loopback for servers that are given theirs before they run."""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

# Above 10080, the last one that browsers and Node.js refuse to ask, and below those that systems give to
# outgoing connections: one of these may be taken for that at any time.
_FIRST: Final = 10_100
_LAST: Final = 32_000
_TRIES: Final = 1000


class Reservations:
    """Ports that this process has given out, which no other process that asks in this way is given.

    Between the choice of a port and the moment its server listens, a second test process could choose the
    same. So each port is a byte of one file, locked by the process that has it: the system unlocks it when
    that process ends, however it ends.

    Args:
        path: of that file, the same for all processes of one machine and user.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._given: set[int] = set()
        self._chance = random.SystemRandom()

    def port(self) -> int:
        """A TCP port that nobody uses, and that nobody else is given."""
        for _ in range(_TRIES):
            port = self._chance.randint(_FIRST, _LAST)
            if port not in self._given and self._reserve(port) and _is_free(port):
                self._given.add(port)
                return port
        raise AssertionError(f"no port between {_FIRST} and {_LAST} is free")

    def _reserve(self, port: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        return True


def free_port() -> int:
    """A TCP port that nobody uses, and that no other test or benchmark is given while this process runs."""
    return _reservations().port()


@cache
def _reservations() -> Reservations:
    return Reservations(Path(tempfile.gettempdir()) / f"ff-proxy-ports-{os.getuid()}")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
