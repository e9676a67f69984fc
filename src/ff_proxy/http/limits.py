"""Limits on connections, requests and time."""

from typing import Final

import msgspec

from ff_proxy.posix import UNLIMITED, raise_open_file_limit
from ff_proxy.telemetry import Logger

_RESERVED: Final = 128
"""File descriptors reserved for the store, the upstream and logs."""

_MOST: Final = 1_000_000


class Limits(msgspec.Struct, frozen=True):
    """Limits on what clients send and how long they take, in bytes and seconds.

    JavaScript sends up to 256 KiB in one header (spec/sdk-wire#target-transport), and SDKs poll every 60 s.

    Attributes:
        connections: most open connections, including streams and TLS handshakes.
        extra_connections: connections accepted beyond that for ``Route.over_limit`` routes, such as health.
        per_peer: most connections from one address that is not a trusted proxy; 0: no limit.
        head_bytes: longest request line with its header fields, and longest trailers.
        head_fields: most header fields.
        head_seconds: from a head's first byte to its last.
        body_seconds: time for a body, in addition to what its bytes take at ``body_rate``.
        body_rate: slowest accepted rate, in bytes per second.
        body_bytes: longest body after decoding, unless the route sets a lower limit.
        discard_bytes: how much of a dropped body is read, so that a TCP reset does not lose the answer.
        answer_seconds: time for a handler once the body has arrived.
        idle_seconds: time between two requests; above the 600 s of cloud load balancers.
        stall_seconds: how long a client may read nothing of a response.
    """

    connections: int
    extra_connections: int = 16
    per_peer: int = 0
    head_bytes: int = 384 * 1024
    head_fields: int = 128
    head_seconds: int = 15
    body_seconds: int = 30
    body_rate: int = 4096
    body_bytes: int = 64 * 1024 * 1024
    discard_bytes: int = 256 * 1024 * 1024
    answer_seconds: int = 60
    idle_seconds: float = 620
    stall_seconds: int = 60


def connection_limit(configured: int, log: Logger) -> int:
    """The effective ``max-connections``: at most what the open file limit allows, and just that for 0.

    Raises the soft limit to the hard limit first: many systems start processes with 1,024.
    """
    possible = possible_connections(raise_open_file_limit())
    if configured > possible:
        # Without a file descriptor we could not even accept a connection to refuse it.
        log.warning(
            "max-connections is above what the open file limit allows: using the lower number",
            configured=configured,
            possible=possible,
        )
    return min(configured, possible) if configured > 0 else possible


def possible_connections(files: int) -> int:
    """How many connections an open file limit of ``files`` allows."""
    if files == UNLIMITED:
        return _MOST
    return min(max(files - _RESERVED, files // 2, 1), _MOST)
