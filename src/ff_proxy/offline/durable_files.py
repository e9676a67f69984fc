"""File operations that survive a power failure."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ff_proxy.posix import hold_lock
from ff_proxy.store.private_files import DIRECTORY_MODE, FILE_MODE

_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class Disk:
    """Changes files and directories; raises ``OSError``. Tests replace it to inject failures."""

    def make_directory(self, path: Path) -> None:
        """Create ``path`` and missing parents, readable only by this user."""
        missing = [path, *path.parents]
        for directory in reversed(missing[: next(n for n, one in enumerate(missing) if one.is_dir())]):
            directory.mkdir(DIRECTORY_MODE)
            directory.chmod(DIRECTORY_MODE)

    def write(self, path: Path, data: bytes) -> None:
        """Write a new file, readable only by this user, and sync it to disk."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def copy(self, source: Path, destination: Path) -> None:
        """Copy a file or a directory tree; links stay links."""
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, destination, symlinks=True)
        else:
            shutil.copy2(source, destination, follow_symlinks=False)

    def rename(self, source: Path, destination: Path) -> None:
        """Rename ``source`` atomically, on the same disk."""
        source.rename(destination)

    def sync(self, directory: Path) -> None:
        """Sync the entries of ``directory`` to disk."""
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, path: Path) -> None:
        """Remove a file or a directory tree; no error if it does not exist."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def writer_lock(directory: Path) -> Iterator[bool]:
    """Lock ``directory`` against other writers; ``False`` if another one holds the lock.

    The system releases the lock when the process ends, even in a crash. On a file system without locks,
    nothing is locked.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        hold_lock(handle)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
