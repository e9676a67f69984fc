"""What the processes of one proxy share, made before the first of them is forked."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ff_proxy.errors import StartupError
from ff_proxy.ipc import SharedGenerations
from ff_proxy.posix import hold_lock
from ff_proxy.runtime.random_names import random_name
from ff_proxy.store.private_files import DIRECTORY_MODE, FILE_MODE
from ff_proxy.telemetry import Logger

# What a Unix socket's path may be long everywhere, with room for its name.
_LONGEST: Final = 90


_PREFIX: Final = "ff-proxy-"
# Held by the supervisor and by every child that it has forked: as long as one of them lives.
_LOCK: Final = "lock"
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  (a directory of random name is made in it, for its user only)


@dataclass(frozen=True, slots=True)
class SharedRuntime:
    """The runtime directory, shared memory, and the name that a fleet knows all of them by.

    ``member`` is the name in a fleet: a sync process that is started again keeps its leases by it.
    """

    directory: Path
    generations: SharedGenerations
    member: str
    supervisor: int

    @property
    def socket(self) -> Path:
        """The Unix socket of the sync process."""
        return self.directory / "sync.sock"

    @property
    def metrics(self) -> Path:
        """Where every process writes its metrics."""
        return self.directory / "metrics"

    @property
    def logs(self) -> Path:
        """Where every process writes its last log lines."""
        return self.directory / "logs"

    def remove_if_orphaned(self) -> None:
        """Remove the directory if the supervisor, which does so otherwise, was killed."""
        if os.getppid() != self.supervisor:
            shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def open_shared_runtime(log: Logger) -> Iterator[SharedRuntime]:
    """Made here, and removed in the end; raises ``StartupError`` if there is no room for it.

    Directories of predecessors that were killed are removed first.
    """
    try:
        parent = _temporary_directory()
        _remove_stale(parent, log)
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True)
        lock = _lock(Path(made.name) / _LOCK)
    except OSError as error:
        raise StartupError(f"no temporary directory can be made: {error}; name one with TMPDIR") from error
    with made as name, SharedGenerations() as generations, os.fdopen(lock):
        if len(os.fsencode(name)) > _LONGEST:
            raise StartupError(f"the path of {name} is too long for a socket; name another one with TMPDIR")
        runtime = SharedRuntime(Path(name), generations, random_name(), os.getpid())
        runtime.metrics.mkdir(DIRECTORY_MODE)
        runtime.logs.mkdir(DIRECTORY_MODE)
        yield runtime


def _temporary_directory() -> Path:
    """Where temporary files go: ``TMPDIR``, the system's places, or the shared memory of a container.

    A container with a read-only root has nothing else that can be written, and every engine provides it.
    Raises ``OSError`` if there is no such place.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        if not os.access(_SHARED_MEMORY, os.W_OK | os.X_OK):
            raise
        return _SHARED_MEMORY


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        hold_lock(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_stale(parent: Path, log: Logger) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else's, in use, or being removed by another one that starts
            status = directory.lstat()
            if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
                continue
            if not (directory / _LOCK).exists():
                continue  # another one is just making it
            with os.fdopen(_lock(directory / _LOCK)):
                shutil.rmtree(directory)
            log.info("removed what a killed process left behind", directory=str(directory))
