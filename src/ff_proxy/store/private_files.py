"""Files that hold secrets, targets or key hashes: 0600 in directories of 0700.

See spec/behaviour#private-files.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ff_proxy.telemetry.logs import OnceLog

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

_CORRECTED: Final = "other users could read this, its mode was corrected"
_UNCHANGEABLE: Final = "other users may read this, and its mode cannot be changed: choose another volume"
_SHARED: Final = (
    "other users may list this directory, its mode stays since it holds other files too: "
    "give ff-proxy a directory of its own"
)


@contextmanager
def private_umask() -> Iterator[None]:
    """Files created in this context, also by libraries, are never accessible to other users."""
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def make_private_directory(path: Path, log: OnceLog, *, ours: str) -> None:
    """Create ``path`` if it is missing, and make it private.

    ``ours`` is the prefix of the proxy's own files. A directory with other files, or writable by everybody,
    is shared: its mode stays, with a warning. Raises ``OSError`` if the directory can be neither created nor
    listed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(DIRECTORY_MODE)
    except FileExistsError:
        mode = path.stat().st_mode  # a file of this name fails when it is listed
        names = [entry.name for entry in path.iterdir()]
        if not mode & _OTHERS:
            return
        other_files = any(not name.startswith(ours) and name != "lost+found" for name in names)
        if mode & stat.S_ISVTX or other_files:
            log.warning(_SHARED, str(path), mode=_octal(mode))
            return
        if not names and not mode & stat.S_IRWXO:
            # A new volume of the image; its group is for platforms that choose the user id, and nothing was
            # exposed.
            with suppress(OSError):
                path.chmod(DIRECTORY_MODE)
    make_private(path, log)


def make_private_file(path: Path, log: OnceLog) -> None:
    """Create ``path`` if it is missing, and make it private; raises ``OSError``."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    make_private(path, log)


def make_all_private(paths: Iterable[Path], log: OnceLog) -> None:
    """``make_private`` for every existing path."""
    for path in paths:
        if path.exists():
            make_private(path, log)


def make_private(path: Path, log: OnceLog) -> None:
    """Remove other users' permissions for ``path``, with a warning if they had any.

    A volume without modes, or another user's file, gives one warning per directory, not an error.
    """
    mode = path.stat().st_mode
    if not mode & _OTHERS:
        return
    try:
        path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
        error = ""
    except OSError as refused:
        error = refused.strerror or type(refused).__name__
    status = path.stat()
    left = status.st_mode
    if path.is_dir() and _handed_over_by_group(status):
        return
    if left & _OTHERS:
        volume = path if path.is_dir() else path.parent
        log.warning(_UNCHANGEABLE, str(volume), mode=_octal(left), error=error or "the volume ignores it")
    else:
        log.warning(_CORRECTED, str(path), before=_octal(mode), after=_octal(left))


def _handed_over_by_group(status: os.stat_result) -> bool:
    """Whether a platform granted access to the volume through our group: Kubernetes' fsGroup, OpenShift."""
    ours = status.st_gid == os.getegid() or status.st_gid in os.getgroups()
    return ours and status.st_uid != os.geteuid() and not status.st_mode & stat.S_IRWXO


def _octal(mode: int) -> str:
    return f"{stat.S_IMODE(mode):04o}"
