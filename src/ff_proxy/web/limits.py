"""What a connection may cost."""

import resource
from typing import Final

import msgspec

_RESERVED: Final = 128
"""Files that the process needs for itself: the store, the upstream, logs."""


class Limits(msgspec.Struct, frozen=True):
    """Bounds on what clients send, and on how long they take; seconds and bytes.

    JavaScript sends up to 256 KiB in one header, and SDKs poll every 60 s (sdk-contract.md §1.5, §5.2).
    A body may take ``body_seconds`` plus its bytes so far at ``body_rate`` per second. ``stall_seconds`` is
    how long a response may make no progress. ``connections`` includes streams.
    """

    connections: int
    head_bytes: int = 384 * 1024
    head_fields: int = 128
    head_seconds: int = 15
    body_seconds: int = 30
    body_rate: int = 4096
    idle_seconds: int = 120
    stall_seconds: int = 60


def connection_limit(configured: int) -> int:
    """``max-connections``: 0 stands for what the limit of open files allows."""
    if configured > 0:
        return configured
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    return max(soft - _RESERVED, soft // 2, 1)
