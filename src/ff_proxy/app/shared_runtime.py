"""Resources that the processes of one proxy share, created before the first fork."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Final

from ff_proxy.errors import StartupError
from ff_proxy.ipc import SharedGenerations
from ff_proxy.posix import hold_lock
from ff_proxy.store.private_files import DIRECTORY_MODE, FILE_MODE
from ff_proxy.telemetry import Logger

# The longest directory path that leaves room for a Unix socket's name on every system.
_LONGEST: Final = 90


_PREFIX: Final = "ff-proxy-"
# Held by the supervisor and its children, so until the last of them ends.
_LOCK: Final = "lock"
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  (a directory of random name is made in it, for its user only)


@dataclass(frozen=True, slots=True)
class SharedRuntime:
    """The runtime directory, shared memory, and the proxy's name in its fleet.

    With the same ``member`` name a restarted sync process keeps its leases.
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
        """The directory for the metrics of all processes."""
        return self.directory / "metrics"

    @property
    def logs(self) -> Path:
        """The directory for the last log lines of all processes."""
        return self.directory / "logs"

    def remove_if_orphaned(self) -> None:
        """Remove the directory if the supervisor, which normally does that, was killed."""
        if os.getppid() != self.supervisor:
            shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def open_shared_runtime(log: Logger) -> Iterator[SharedRuntime]:
    """Create the shared resources, and remove them at the end; raises ``StartupError``.

    First removes the directories of killed predecessors.
    """
    try:
        parent = _temporary_directory()
        _remove_stale(parent, log)
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True)
        lock = _lock(Path(made.name) / _LOCK)
    except OSError as error:
        raise StartupError(f"cannot create a temporary directory: {error}; set TMPDIR") from error
    with made as name, SharedGenerations() as generations, os.fdopen(lock):
        if len(os.fsencode(name)) > _LONGEST:
            raise StartupError(f"the path {name} is too long for a socket; set TMPDIR to a shorter one")
        runtime = SharedRuntime(Path(name), generations, token_hex(16), os.getpid())
        runtime.metrics.mkdir(DIRECTORY_MODE)
        runtime.logs.mkdir(DIRECTORY_MODE)
        yield runtime


def _temporary_directory() -> Path:
    """The directory for temporary files: ``TMPDIR``, the system's defaults, or ``/dev/shm``.

    In a container with a read-only root, ``/dev/shm`` is the only writable place that every engine provides.
    Raises ``OSError`` if there is none.
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
        with suppress(OSError):  # another user's, in use, or just being removed by another proxy
            status = directory.lstat()
            if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
                continue
            if not (directory / _LOCK).exists():
                continue  # another proxy is just creating it
            with os.fdopen(_lock(directory / _LOCK)):
                shutil.rmtree(directory)
            log.info("removed what a killed process left behind", directory=str(directory))
