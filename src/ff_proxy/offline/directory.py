"""A whole offline directory, read so that every environment is of one moment."""

import errno
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.absence import why_not_found
from ff_proxy.offline.durable_files import Disk, only_writer
from ff_proxy.offline.files import Files, in_words
from ff_proxy.offline.format import Reading, read_environment
from ff_proxy.offline.journal import complete, is_committed, unswapped
from ff_proxy.offline.layout import PREFIX, Finding, Location, find, locate
from ff_proxy.offline.problems import Problem, Severity

_READ_ONLY: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_PAUSE: Final = 0.1
_PATIENCE: Final = 50
_ATTEMPTS: Final = 5


class DirectoryReading(msgspec.Struct, frozen=True):
    """What is in a directory.

    ``locations``: every environment there. ``readings``: those that were read, because they were not known.
    ``disputed``: environments that two directories claim; nothing of them is read.
    ``missing``: known environments that were not found; the text is empty if they were removed, else it says
    what keeps them from being found. ``identity``: device and inode of the directory.
    """

    locations: tuple[Location, ...]
    readings: tuple[Reading, ...]
    disputed: frozenset[EnvironmentId]
    problems: tuple[Problem, ...]
    missing: Mapping[EnvironmentId, str] = {}
    identity: tuple[int, int] = (0, 0)


def read_directory(
    root: Path,
    known: Mapping[EnvironmentId, Location] | None = None,
    *,
    disk: Disk | None = None,
    files: Files | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> DirectoryReading:
    """Read every environment below ``root`` whose location is not in ``known``. Blocks: call it in a thread.

    A write that was cut off is completed first. A directory that changes while it is read is read again.

    Args:
        root: the directory.
        known: what was read before; a location that is still the same is not read again.
        disk: how to complete a write.
        files: how to read.
        pause: waits that many seconds.

    Raises ``OfflineDataError`` if ``root`` cannot be read, or somebody else is writing it all the time.
    """
    known = known if known is not None else {}
    disk = disk if disk is not None else Disk()
    files = files if files is not None else Files()
    try:
        return _read(root, known, disk, files, pause)
    except OSError as error:
        path = error.filename or root
        raise OfflineDataError(str(path), f"it cannot be read: {in_words(error)}") from error


def _read(
    root: Path,
    known: Mapping[EnvironmentId, Location],
    disk: Disk,
    files: Files,
    pause: Callable[[float], None],
) -> DirectoryReading:
    finding = _look(root, disk, files, pause)
    readings: tuple[Reading, ...] = ()
    for _ in range(_ATTEMPTS):
        new = (location for location in finding.locations if known.get(location.environment) != location)
        readings = tuple(_contained(location, files) for location in new)
        before, finding = finding, _look(root, disk, files, pause)
        if finding.locations == before.locations:
            break
        pause(_PAUSE)
    there = {location.environment for location in finding.locations} | finding.disputed
    missing = {
        environment: why_not_found(root, location, files)
        for environment, location in known.items()
        if environment not in there
    }
    return DirectoryReading(
        finding.locations, readings, finding.disputed, finding.problems, missing, finding.identity
    )


def _contained(location: Location, files: Files) -> Reading:
    try:
        return read_environment(location, files)
    except Exception as error:  # noqa: BLE001  (no content of a file may keep the others from being read)
        text = f"it cannot be read: {type(error).__name__}: {error}"
        return Reading(location, None, (Problem(Severity.BROKEN, str(location.path), "", text),))


def _look(root: Path, disk: Disk, files: Files, pause: Callable[[float], None]) -> Finding:
    finding = find(root, files)
    return _complete(root, disk, files, pause) if is_committed(root) else finding


def _complete(root: Path, disk: Disk, files: Files, pause: Callable[[float], None]) -> Finding:
    for _ in range(_PATIENCE):
        with only_writer(root) as alone:
            if alone:
                return _complete_alone(root, disk, files)
        pause(_PAUSE)
        if not is_committed(root):
            return find(root, files)
    raise OfflineDataError(str(root), "another process is writing the directory")


def _complete_alone(root: Path, disk: Disk, files: Files) -> Finding:
    try:
        complete(root, disk)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise OfflineDataError(
                str(root), f"a write that was cut off cannot be completed: {error.strerror}"
            ) from error
    finding = find(root, files)
    waiting = {
        EnvironmentId(directory.name.removeprefix(PREFIX)): new for directory, new in unswapped(root).items()
    }
    if not waiting:
        return finding
    kept = (location for location in finding.locations if location.environment not in waiting)
    moved = (locate(name, path, files) for name, path in waiting.items())
    return msgspec.structs.replace(finding, locations=(*kept, *moved))
