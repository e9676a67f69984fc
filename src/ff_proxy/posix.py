"""What Linux and macOS have and other systems lack: locks of files, and a limit of open files."""

from contextlib import suppress
from types import ModuleType
from typing import Final

_fcntl: ModuleType | None = None
_resource: ModuleType | None = None
with suppress(ImportError):
    import fcntl as _fcntl
with suppress(ImportError):
    import resource as _resource

UNLIMITED: Final = -1 if _resource is None else _resource.RLIM_INFINITY
"""As a limit of open files: none."""


def hold_lock(descriptor: int, *, shared: bool = False) -> None:
    """Lock it until it is closed, or the process ends in whatever way; a system without locks locks nothing.

    Raises ``BlockingIOError`` if somebody else holds it, other ``OSError`` if it cannot be locked.
    """
    if _fcntl is not None:
        _fcntl.flock(descriptor, (_fcntl.LOCK_SH if shared else _fcntl.LOCK_EX) | _fcntl.LOCK_NB)


def open_file_limits() -> tuple[int, int]:
    """How many files this process may open, and how many it may let itself; ``UNLIMITED`` if nobody says."""
    if _resource is None:
        return UNLIMITED, UNLIMITED
    soft, hard = _resource.getrlimit(_resource.RLIMIT_NOFILE)
    return soft, hard


def raise_open_file_limit() -> int:
    """Let this process open as many files as it may let itself; returns how many it may open then."""
    soft, hard = open_file_limits()
    if _resource is not None:
        with suppress(OSError, ValueError):  # macOS has a lower limit than it says
            _resource.setrlimit(_resource.RLIMIT_NOFILE, (hard, hard))
            return hard
    return soft
