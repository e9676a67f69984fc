"""One connection on its own thread, so that the event loop never waits for the disk."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, TypeVar

from ff_proxy.aio.border import border, described
from ff_proxy.errors import FfProxyError, StartupError, StoreUnavailable, StoreUnusable
from ff_proxy.posix import hold_lock
from ff_proxy.store.private_files import make_all_private, make_private_directory, make_private_file
from ff_proxy.store.sqlite.group_commit import GroupCommit
from ff_proxy.store.sqlite.schema import prepare
from ff_proxy.telemetry import OnceLog

_Result = TypeVar("_Result")

# The timeout of one transaction.
_TIMEOUT_SECONDS: Final = 30.0
# The prefix of every file in the directory, and the suffixes of SQLite's side files.
FILE_PREFIX: Final = "ff-proxy"
_SIDE_FILE_SUFFIXES: Final = ("-wal", "-shm", "-journal")
# Errors of the disk or of one transaction; any other error means that the file is damaged.
_TEMPORARY_ERRORS: Final = (
    sqlite3.OperationalError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
)


def database_file(directory: Path, name: str = FILE_PREFIX) -> Path:
    """Where the data is."""
    return directory / f"{name}.sqlite"


def lock_file(directory: Path, name: str = FILE_PREFIX) -> Path:
    """What is locked while a process uses the data."""
    return directory / f"{name}.lock"


class Database:
    """A SQLite file in ``directory``, locked against other processes while open.

    ``async with`` opens it. ``run`` and ``load`` execute a function of the connection in a transaction.
    ``once`` logs files that other users could read; ``up`` is set to 1 or 0 after each use.
    """

    def __init__(
        self, directory: Path, name: str, once: OnceLog, up: Callable[[float], object] = lambda _: None
    ) -> None:
        self.path: Final = database_file(directory, name)
        self._once = once
        self._up = up
        self._lock_path: Final = lock_file(directory, name)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._commits: GroupCommit | None = None
        self._lock: int | None = None
        self._opened: os.stat_result | None = None

    async def __aenter__(self) -> Self:
        try:
            self._lock = _locked(self._lock_path, self._once)
            connection = await self._connect()
            self._commits = GroupCommit(
                connection, self._thread, _TIMEOUT_SECONDS, self._to_store_error, self._up
            )
        except StoreUnavailable as error:
            await self._close()
            raise StartupError(f"data-dir cannot be used: {error}") from error
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run ``work`` in a transaction, as ``GroupCommit.run`` does.

        Raises ``StoreUnavailable`` if the file cannot be used now (disk full, I/O error, no answer in time).
        So does a file that is damaged, moved or removed while it is used: memory serves on.
        """

        def in_place(connection: sqlite3.Connection) -> _Result:
            self._require_in_place()
            return work(connection)

        try:
            return await self.load(in_place)
        except StoreUnusable as error:
            raise StoreUnavailable(str(error)) from error

    async def load(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """As ``run``, at the start: a damaged file raises ``StoreUnusable``."""
        if self._commits is None:
            raise StoreUnavailable(f"{self.path} is not open")
        return await self._commits.run(work)

    async def _connect(self) -> sqlite3.Connection:
        with border(self._to_store_error):
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    def _to_store_error(self, error: Exception) -> FfProxyError:
        if isinstance(error, FfProxyError):
            return error
        if isinstance(error, TimeoutError):
            return StoreUnavailable(f"{self.path}: no answer from the disk within {_TIMEOUT_SECONDS:.0f} s")
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _TEMPORARY_ERRORS):
            return StoreUnusable(
                f"{self.path} is damaged ({error}): move it away to begin with an empty store, "
                "or put a backup in its place"
            )
        return StoreUnavailable(f"{self.path}: {described(error)}")

    def _require_in_place(self) -> None:
        """Raise if the open file is no longer what a restart would find: SQLite writes to it all the same."""
        with suppress(OSError):
            if self._opened is not None and os.path.samestat(self.path.stat(), self._opened):
                return
        raise StoreUnavailable(
            f"{self.path} was moved or removed while it is used: put it back, or restart with a new one"
        )

    def _open(self) -> sqlite3.Connection:
        try:
            make_private_file(self.path, self._once)
            self._opened = self.path.stat()
            # SQLite gives new files the database's mode, but a killed process may have left older ones.
            make_all_private(
                (self.path.with_name(f"{self.path.name}{end}") for end in _SIDE_FILE_SUFFIXES), self._once
            )
        except OSError as error:
            raise _unwritable(self.path, error) from error
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            # First, so that a foreign or newer file is not changed.
            prepare(connection, str(self.path))
            connection.execute("PRAGMA journal_mode = WAL")
            # A killed process loses no committed data; a power failure may lose the last moments.
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    async def _close(self) -> None:
        commits, self._commits = self._commits, None
        if commits is not None:
            await commits.close()
        self._thread.shutdown(wait=False)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked(path: Path, once: OnceLog) -> int:
    """Lock the file; the lock is released when the descriptor is closed."""
    try:
        make_private_directory(path.parent, once, ours=FILE_PREFIX)
        make_private_file(path, once)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    try:
        hold_lock(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise StartupError(
            f"data-dir {path.parent} is in use by another ff-proxy: give each its own directory, or use Redis"
        ) from error
    return descriptor


def _unwritable(path: Path, error: OSError) -> StartupError:
    reason = error.strerror or type(error).__name__
    return StartupError(f"data-dir {path} cannot be written by user id {os.getuid()}: {reason}")
