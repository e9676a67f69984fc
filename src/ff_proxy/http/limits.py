"""What a connection may cost."""

from typing import Final

import msgspec

from ff_proxy.posix import UNLIMITED, raise_open_file_limit
from ff_proxy.telemetry import Logger

_RESERVED: Final = 128
"""Files that the process needs for itself: the store, the upstream, logs."""

_MOST: Final = 1_000_000


class Limits(msgspec.Struct, frozen=True):
    """Bounds on what clients send, and on how long they take; seconds and bytes.

    JavaScript sends up to 256 KiB in one header (spec/sdk-wire#target-transport), and SDKs poll every 60 s.

    Attributes:
        connections: at most, streams and TLS handshakes included.
        spared: so many more are accepted to ask for routes that are ``spared``, such as health.
        per_peer: connections of one address, but those of trusted proxies, at most; 0: no limit of its own.
        head_bytes: of a request line and its fields, and of a body's trailers.
        head_fields: so many fields.
        head_seconds: from a head's first byte to its last.
        body_seconds: a body may take that long, and what its bytes so far take at ``body_rate``.
        body_rate: bytes a second.
        body_bytes: the longest body, once decoded, of routes that do not say less.
        read_off_bytes: so much of an unwanted body is read, so that the answer is not lost in a reset.
        answer_seconds: a handler may take that long once the body is there.
        idle_seconds: between two requests; above the 600 s of cloud balancers.
        stall_seconds: how long a response may make no progress.
    """

    connections: int
    spared: int = 16
    per_peer: int = 0
    head_bytes: int = 384 * 1024
    head_fields: int = 128
    head_seconds: int = 15
    body_seconds: int = 30
    body_rate: int = 4096
    body_bytes: int = 64 * 1024 * 1024
    read_off_bytes: int = 256 * 1024 * 1024
    answer_seconds: int = 60
    idle_seconds: float = 620
    stall_seconds: int = 60


def connection_limit(configured: int, log: Logger) -> int:
    """``max-connections``: never more than the limit of open files allows, which 0 stands for.

    That limit is raised as far as the system lets anybody: many give a process 1,024 to begin with.
    """
    possible = possible_connections(raise_open_file_limit())
    if configured > possible:
        # Without a file there is no connection on which one too many could be told so.
        log.warning(
            "max-connections is more than the limit of open files allows, which counts",
            configured=configured,
            possible=possible,
        )
    return min(configured, possible) if configured > 0 else possible


def possible_connections(files: int) -> int:
    """How many connections a limit of open files leaves room for."""
    if files == UNLIMITED:
        return _MOST
    return min(max(files - _RESERVED, files // 2, 1), _MOST)
