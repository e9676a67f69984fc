"""Ports of loopback for servers that are told theirs before they run."""

import random
import socket
from contextlib import closing
from typing import Final

# Below those that systems give to outgoing connections: one of these may be taken for that at any time.
_FIRST: Final = 20_000
_LAST: Final = 32_000
_TRIES: Final = 100


def free_port() -> int:
    """A TCP port that nobody uses now, and that nobody is given by accident."""
    chance = random.SystemRandom()
    for _ in range(_TRIES):
        port = chance.randint(_FIRST, _LAST)
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port between {_FIRST} and {_LAST} is free")
