"""What a connection may cost."""

import resource
from contextlib import suppress
from typing import Final

import msgspec

from ff_proxy.telemetry import Logger

_RESERVED: Final = 128
"""Files that the process needs for itself: the store, the upstream, logs."""

_UNLIMITED: Final = 1_000_000


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


def connection_limit(configured: int, log: Logger) -> int:
    """``max-connections``: never more than the limit of open files allows, which 0 stands for.

    That limit is raised as far as the system lets anybody: many give a process 1,024 to begin with.
    """
    possible = _possible(_raised_file_limit())
    if configured > possible:
        # Without a file there is no connection on which one too many could be told so.
        log.warning(
            "max-connections is more than the limit of open files allows, which counts",
            configured=configured,
            possible=possible,
        )
    return min(configured, possible) if configured > 0 else possible


def _raised_file_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS has a lower limit than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def _possible(files: int) -> int:
    if files == resource.RLIM_INFINITY:
        return _UNLIMITED
    return min(max(files - _RESERVED, files // 2, 1), _UNLIMITED)
