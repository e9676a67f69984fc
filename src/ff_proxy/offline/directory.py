"""A whole offline directory, read so that every environment is of one moment."""

import errno
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.durable_files import Disk, only_writer
from ff_proxy.offline.format import Reading, read_environment
from ff_proxy.offline.journal import complete, is_committed, unswapped
from ff_proxy.offline.layout import PREFIX, Finding, Location, find, signature_of
from ff_proxy.offline.problems import Problem

_READ_ONLY: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_PAUSE: Final = 0.1
_PATIENCE: Final = 50
_ATTEMPTS: Final = 5


class DirectoryReading(msgspec.Struct, frozen=True):
    """What is in a directory.

    ``locations``: every environment there. ``readings``: those that were read, because they were not known.
    ``disputed``: environments that two directories claim; nothing of them is read.
    """

    locations: tuple[Location, ...]
    readings: tuple[Reading, ...]
    disputed: frozenset[EnvironmentId]
    problems: tuple[Problem, ...]


def read_directory(
    root: Path,
    known: Mapping[EnvironmentId, Location] | None = None,
    *,
    disk: Disk | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> DirectoryReading:
    """Read every environment below ``root`` whose location is not in ``known``. Blocks: call it in a thread.

    A write that was cut off is completed first. A directory that changes while it is read is read again.

    Args:
        root: the directory.
        known: what was read before; a location that is still the same is not read again.
        disk: how to complete a write.
        pause: waits that many seconds.

    Raises ``OfflineDataError`` if ``root`` cannot be read, or somebody else is writing it all the time.
    """
    known = known if known is not None else {}
    disk = disk if disk is not None else Disk()
    finding = _look(root, disk, pause)
    readings: tuple[Reading, ...] = ()
    for _ in range(_ATTEMPTS):
        new = (location for location in finding.locations if known.get(location.environment) != location)
        readings = tuple(map(read_environment, new))
        before, finding = finding, _look(root, disk, pause)
        if finding.locations == before.locations:
            break
        pause(_PAUSE)
    return DirectoryReading(finding.locations, readings, finding.disputed, finding.problems)


def _look(root: Path, disk: Disk, pause: Callable[[float], None]) -> Finding:
    finding = find(root)
    return _complete(root, disk, pause) if is_committed(root) else finding


def _complete(root: Path, disk: Disk, pause: Callable[[float], None]) -> Finding:
    for _ in range(_PATIENCE):
        with only_writer(root) as alone:
            if alone:
                return _complete_alone(root, disk)
        pause(_PAUSE)
        if not is_committed(root):
            return find(root)
    raise OfflineDataError(str(root), "another process is writing the directory")


def _complete_alone(root: Path, disk: Disk) -> Finding:
    try:
        complete(root, disk)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise OfflineDataError(
                str(root), f"a write that was cut off cannot be completed: {error.strerror}"
            ) from error
    finding = find(root)
    waiting = {
        EnvironmentId(directory.name.removeprefix(PREFIX)): new for directory, new in unswapped(root).items()
    }
    if not waiting:
        return finding
    kept = (location for location in finding.locations if location.environment not in waiting)
    moved = (Location(name, path, signature_of(path)) for name, path in waiting.items())
    return Finding((*kept, *moved), finding.disputed, finding.problems)
