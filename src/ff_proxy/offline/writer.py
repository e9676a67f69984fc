"""Writing an offline directory: complete or not at all (spec/behaviour#generate)."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from ff_proxy.errors import OfflineDataError, StartupError
from ff_proxy.model.environment import Item
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.durable_files import Disk, writer_lock
from ff_proxy.offline.format import OfflineEnvironment, encode_environment, read_environment
from ff_proxy.offline.journal import commit, complete, discard, staged
from ff_proxy.offline.layout import OWN_FILES, PREFIX, DirectoryScan, find, locate
from ff_proxy.offline.problems import Severity

_PROBE_NAME: Final = ".ff-proxy-probe"


class WriteResult(msgspec.Struct, frozen=True):
    """The result of a write: each environment's directory, and the environments there that were not written.

    ``made_private`` are directories that other users could read before but no longer can.
    """

    directories: tuple[Path, ...]
    untouched: tuple[EnvironmentId, ...]
    made_private: tuple[Path, ...]


def check_writable(root: Path, disk: Disk | None = None) -> None:
    """Check that ``root`` is writable; create it if it does not exist.

    Raises ``StartupError`` with the user id and what to do.
    """
    disk = disk if disk is not None else Disk()
    probe = root / _PROBE_NAME
    refusal = (
        f"the config directory {root} cannot be written by user id {os.getuid()}; "
        "change its owner or its mode, or mount it writable"
    )
    with _write_errors(refusal):
        disk.make_directory(root)
        disk.remove(probe)
        disk.write(probe, b"")
        disk.remove(probe)


def write_directory(
    root: Path, environments: Sequence[OfflineEnvironment], written: float, disk: Disk | None = None
) -> WriteResult:
    """Write ``environments`` below ``root`` atomically: all of them or, on failure, none.

    An existing environment stays in its directory; a new one is written to ``root/env-<id>``. Other files and
    other environments are not changed. Blocks: call it in a thread.

    Args:
        root: the directory, checked with ``check_writable``.
        environments: what to write; must be valid.
        written: seconds since the epoch, for the README.
        disk: writes files.

    Raises ``StartupError``: the old state stays, unless the message says otherwise.
    """
    disk = disk if disk is not None else Disk()
    with _write_errors(f"nothing was changed in {root}: writing failed"), writer_lock(root) as has_lock:
        if not has_lock:
            raise StartupError(f"another process is writing {root}; try again when it has ended")
        complete(root, disk)
        discard(root, disk)
        scan = find(root)
        for problem in scan.unreadable:
            raise StartupError(f"it is unclear where to write, because not everything can be read: {problem}")
        directories = [_directory_of(root, scan, environment.config.id) for environment in environments]
        was_public = tuple(directory for directory in directories if _is_public(directory))
        try:
            for number, environment in enumerate(environments):
                _stage(staged(root, number), directories[number], environment, written, disk)
                _verify(staged(root, number), environment)
            commit(root, directories, disk)
        finally:
            discard(root, disk)
        with _write_errors(f"{root} is not complete yet; the next run or start completes it"):
            complete(root, disk)
    ids = {environment.config.id for environment in environments}
    untouched = (location.environment for location in scan.locations)
    return WriteResult(tuple(directories), tuple(name for name in untouched if name not in ids), was_public)


def _is_public(directory: Path) -> bool:
    """Whether other users can read it."""
    try:
        return bool(directory.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except FileNotFoundError:
        return False


def _directory_of(root: Path, scan: DirectoryScan, environment: EnvironmentId) -> Path:
    """The directory of an environment; refuses directories that cannot be swapped safely."""
    if not environment or "/" in environment or "\0" in environment:
        raise StartupError(f"a directory name cannot contain environment {environment!r}")
    if environment in scan.duplicates:
        problem = next(str(other) for other in scan.problems if other.severity is Severity.BROKEN)
        raise StartupError(f"it is unclear where to write: {problem}")
    known = {location.environment: location.path for location in scan.locations}
    directory = known.get(environment, root / f"{PREFIX}{environment}")
    if directory == root:
        raise StartupError(f"{root} is itself the directory of an environment; use its parent")
    below = (directory, *(parent for parent in directory.parents if root in parent.parents))
    if any(other.is_symlink() for other in below) or os.path.ismount(directory):
        raise StartupError(
            f"{directory} is a link or a mount, so it cannot be replaced; use the real directory"
        )
    return directory


def _stage(new: Path, directory: Path, environment: OfflineEnvironment, written: float, disk: Disk) -> None:
    disk.make_directory(new)
    if directory.is_dir():
        for entry in sorted(directory.iterdir()):
            if entry.name not in OWN_FILES:
                disk.copy(entry, new / entry.name)
    for name, data in encode_environment(environment, written).items():
        disk.write(new / name, data)


def _verify(new: Path, expected: OfflineEnvironment) -> None:
    """Read back what was staged, before it is committed, and compare."""
    name = expected.config.id
    reading = read_environment(locate(name, new))
    for problem in reading.problems:
        raise StartupError(f"environment {name} cannot be read back after writing: {problem}")
    if reading.environment is None or _comparable(reading.environment) != _comparable(expected):
        raise StartupError(f"environment {name} differs after being read back; nothing was changed")


def _comparable(environment: OfflineEnvironment) -> object:
    config = environment.config
    return (
        _versions(config.flags.values()),
        _versions(config.segments.values()),
        config.keys,
        {target.identifier for target in environment.targets},
    )


def _versions(items: Iterable[Item]) -> set[tuple[str, int, str]]:
    return {(item.identifier, item.version, item.digest) for item in items}


@contextmanager
def _write_errors(action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        directory = f": {error.filename}" if error.filename else ""
        raise StartupError(f"{action}: {error.strerror}{directory}") from error
    except OfflineDataError as error:
        raise StartupError(f"{action}: {error}") from error
