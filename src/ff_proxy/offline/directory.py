"""Reading a whole offline directory consistently."""

import errno
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.durable_files import Disk, writer_lock
from ff_proxy.offline.files import Files, describe_error
from ff_proxy.offline.format import Reading, read_environment
from ff_proxy.offline.journal import complete, is_committed, unswapped
from ff_proxy.offline.layout import PREFIX, DirectoryScan, Location, find, locate
from ff_proxy.offline.missing import why_missing
from ff_proxy.offline.problems import Problem, Severity

_READ_ONLY: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_RETRY_SECONDS: Final = 0.1
_MAX_LOCK_ATTEMPTS: Final = 50
_MAX_ATTEMPTS: Final = 5


class DirectoryReading(DirectoryScan, frozen=True):
    """A scan, and what was read of it.

    ``readings``: the environments that were new or had changed. ``missing``: known environments that were not
    found; the text is empty if they were removed, else it is the error.
    """

    readings: tuple[Reading, ...] = ()
    missing: Mapping[EnvironmentId, str] = {}

    @property
    def all_problems(self) -> list[Problem]:
        """Problems of the scan and of every environment that was read."""
        return [*self.problems, *(problem for reading in self.readings for problem in reading.problems)]


def read_directory(
    root: Path,
    known: Mapping[EnvironmentId, Location] | None = None,
    *,
    disk: Disk | None = None,
    files: Files | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> DirectoryReading:
    """Read every environment below ``root`` that is not in ``known``. Blocks: call it in a thread.

    First completes an interrupted write. Reads again if the directory changes meanwhile.

    Args:
        root: the directory.
        known: locations that were read before and are skipped if unchanged.
        disk: completes an interrupted write.
        files: reads files.
        pause: sleeps that many seconds.

    Raises ``OfflineDataError`` if ``root`` cannot be read, or another process keeps writing it.
    """
    known = known if known is not None else {}
    disk = disk if disk is not None else Disk()
    files = files if files is not None else Files()
    try:
        return _read(root, known, disk, files, pause)
    except OSError as error:
        path = error.filename or root
        raise OfflineDataError(str(path), f"it cannot be read: {describe_error(error)}") from error


def _read(
    root: Path,
    known: Mapping[EnvironmentId, Location],
    disk: Disk,
    files: Files,
    pause: Callable[[float], None],
) -> DirectoryReading:
    scan = _scan(root, disk, files, pause)
    readings: tuple[Reading, ...] = ()
    for _ in range(_MAX_ATTEMPTS):
        new = (location for location in scan.locations if known.get(location.environment) != location)
        readings = tuple(_contained(location, files) for location in new)
        before, scan = scan, _scan(root, disk, files, pause)
        if scan.locations == before.locations:
            break
        pause(_RETRY_SECONDS)
    present = {location.environment for location in scan.locations} | scan.duplicates
    missing = {
        environment: why_missing(root, location, files)
        for environment, location in known.items()
        if environment not in present
    }
    return DirectoryReading(**msgspec.structs.asdict(scan), readings=readings, missing=missing)


def _contained(location: Location, files: Files) -> Reading:
    try:
        return read_environment(location, files)
    except Exception as error:  # noqa: BLE001  (no content of a file may keep the others from being read)
        text = f"it cannot be read: {type(error).__name__}: {error}"
        return Reading(location, None, (Problem(Severity.BROKEN, str(location.path), "", text),))


def _scan(root: Path, disk: Disk, files: Files, pause: Callable[[float], None]) -> DirectoryScan:
    scan = find(root, files)
    return _complete(root, disk, files, pause) if is_committed(root) else scan


def _complete(root: Path, disk: Disk, files: Files, pause: Callable[[float], None]) -> DirectoryScan:
    for _ in range(_MAX_LOCK_ATTEMPTS):
        with writer_lock(root) as has_lock:
            if has_lock:
                return _complete_locked(root, disk, files)
        pause(_RETRY_SECONDS)
        if not is_committed(root):
            return find(root, files)
    raise OfflineDataError(str(root), "another process is writing the directory")


def _complete_locked(root: Path, disk: Disk, files: Files) -> DirectoryScan:
    try:
        complete(root, disk)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise OfflineDataError(
                str(root), f"an interrupted write cannot be completed: {error.strerror}"
            ) from error
    scan = find(root, files)
    waiting = {
        EnvironmentId(directory.name.removeprefix(PREFIX)): new for directory, new in unswapped(root).items()
    }
    if not waiting:
        return scan
    kept = (location for location in scan.locations if location.environment not in waiting)
    moved = (locate(name, path, files) for name, path in waiting.items())
    return msgspec.structs.replace(scan, locations=(*kept, *moved))
