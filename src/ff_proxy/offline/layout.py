"""The layout of an offline directory: which directories are environments, and what their files are.

As in the Go proxy: at any depth, every directory whose name contains ``env-`` and that holds at least one of
the files is an environment, and its id is the name without a leading ``env-``. Hidden directories are skipped
(Kubernetes keeps the versions of a mounted ConfigMap there, and the proxy its staging directory), and so are
directories that operating systems and archivers add to volumes.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.files import Files, describe_error
from ff_proxy.offline.problems import Problem, Severity

PREFIX: Final = "env-"
README: Final = "README.md"
YAML_SUFFIXES: Final = (".yaml", ".yml")
SUFFIXES: Final = (".json", *YAML_SUFFIXES)
_MAX_DEPTH: Final = 16
# Of directories that are no environments: with more, it is not the right directory.
_MAX_OTHERS: Final = 10_000
_FOREIGN: Final = frozenset(
    {
        "#recycle",
        "$RECYCLE.BIN",
        "@eaDir",
        "System Volume Information",
        "__MACOSX",
        "lost+found",
    }
)


class Part(Enum):
    """The files of an environment; the values are the file names without suffix."""

    KEYS = "auth_config"
    FLAGS = "feature_config"
    SEGMENTS = "segments"
    TARGETS = "targets"


_PART_FILES: Final = frozenset(part.value + suffix for part in Part for suffix in SUFFIXES)

OWN_FILES: Final = frozenset({README, *_PART_FILES})
"""Every file name of the format."""

FileSignature = tuple[str, int, int, int]
"""A file's name, times and size; a negative size is an error number.

The inode is left out: on some volumes it is another one at each look, and replacing a file changes a time.
"""

Signature = tuple[FileSignature, ...]
"""Changes whenever a directory's files may have changed."""


class Location(msgspec.Struct, frozen=True):
    """An environment's directory, its device, and the signature of its files."""

    environment: EnvironmentId
    path: Path
    signature: Signature
    device: int

    def files_of(self, part: Part) -> list[str]:
        """The file names of a part, the effective one first; usually one or none."""
        names = {entry[0] for entry in self.signature}
        return [name for suffix in SUFFIXES if (name := part.value + suffix) in names]


class DirectoryScan(msgspec.Struct, frozen=True):
    """The environments below a directory, and problems of the scan.

    ``duplicates`` are environments with two directories; they are not in ``locations``. ``unreadable`` are
    the problems that may hide an environment. ``identity`` is the device and inode of the scanned directory.
    """

    locations: tuple[Location, ...]
    duplicates: frozenset[EnvironmentId]
    problems: tuple[Problem, ...]
    unreadable: tuple[Problem, ...] = ()
    identity: tuple[int, int] = (0, 0)


def find(root: Path, files: Files | None = None) -> DirectoryScan:
    """Find every environment below ``root``, or ``root`` itself.

    An unreadable directory below ``root`` is a problem. Raises ``OfflineDataError`` if ``root`` is not a
    directory, cannot be read, or has thousands of directories in it that are no environments.
    """
    files = files if files is not None else Files()
    try:
        top = _Directory(root, files.status(root), files.entries(root))
    except OSError as error:
        raise OfflineDataError(str(root), f"the directory cannot be read: {describe_error(error)}") from error
    locations: dict[EnvironmentId, Location] = {}
    duplicate_ids: set[EnvironmentId] = set()
    walk = _Walk(files)
    others = 0
    for directory in walk.directories(top):
        location = walk.location_of(directory, is_root=directory is top)
        if location is None:
            others += 1
            if others > _MAX_OTHERS:
                text = f"more than {_MAX_OTHERS} directories in it are no environments: is it the right one?"
                raise OfflineDataError(str(root), text)
            continue
        other = locations.setdefault(location.environment, location)
        if other is not location and not walk.same(location.path, other.path):
            duplicate_ids.add(location.environment)
            text = f"environment {location.environment!r} is also in {other.path}; remove one of the two"
            walk.note(Severity.BROKEN, location.path, text)
    unique = tuple(location for name, location in locations.items() if name not in duplicate_ids)
    problems, unreadable = tuple(walk.problems), tuple(walk.unreadable)
    return DirectoryScan(unique, frozenset(duplicate_ids), problems, unreadable, top.identity)


def locate(environment: EnvironmentId, path: Path, files: Files | None = None) -> Location:
    """The current location for the directory ``path``, as from ``find``; raises ``OSError``."""
    files = files if files is not None else Files()
    signature = _signature(path, files.entries(path), files)
    return Location(environment, path, signature, files.status(path).st_dev)


class _Directory(msgspec.Struct, frozen=True):
    path: Path
    status: os.stat_result
    entries: Mapping[str, bool]

    @property
    def identity(self) -> tuple[int, int]:
        return self.status.st_dev, self.status.st_ino


class _Walk:
    """Walks directories and collects problems."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.problems: list[Problem] = []
        self.unreadable: list[Problem] = []

    def directories(
        self, directory: _Directory, above: tuple[tuple[int, int], ...] = ()
    ) -> Iterator[_Directory]:
        """Yield ``directory`` and all directories below; follows links, but no cycles."""
        yield directory
        ancestors = (*above, directory.identity)
        for name in sorted(name for name, may_be in directory.entries.items() if may_be):
            if name.startswith(".") or name in _FOREIGN or name in OWN_FILES:
                continue
            below = self._open(directory.path / name)
            if below is None or below.identity in ancestors:
                continue
            if len(ancestors) > _MAX_DEPTH:
                self.note(Severity.WARNING, below.path, "it is nested too deeply and is not scanned")
                continue
            yield from self.directories(below, ancestors)

    def location_of(self, directory: _Directory, *, is_root: bool) -> Location | None:
        """The environment in a directory, if there is one."""
        name = directory.path.name
        if PREFIX not in name:
            return None
        signature = _signature(directory.path, directory.entries, self._files)
        if not signature:
            if not is_root and name.startswith(PREFIX):
                text = "it has none of an environment's files, so it is not an environment"
                self.note(Severity.WARNING, directory.path, text)
            return None
        environment = EnvironmentId(name.removeprefix(PREFIX))
        if not environment.isprintable():
            self.note(Severity.BROKEN, directory.path, "its name contains no environment id")
            return None
        return Location(environment, directory.path, signature, directory.status.st_dev)

    def same(self, one: Path, other: Path) -> bool:
        """Whether two paths are the same directory; ``False`` if one cannot be read."""
        try:
            return os.path.samestat(self._files.status(one), self._files.status(other))
        except OSError:
            return False

    def note(self, severity: Severity, path: Path, text: str) -> None:
        """Record a problem with ``path``."""
        self.problems.append(Problem(severity, str(path), "", text))

    def _open(self, path: Path) -> _Directory | None:
        try:
            status = self._files.status(path)
        except OSError as error:
            # It may not be a directory: a broken link matters only if its name looks like an environment.
            if not isinstance(error, FileNotFoundError) or self._is_link(path):
                reason = (
                    "the link is broken" if isinstance(error, FileNotFoundError) else describe_error(error)
                )
                text = f"it cannot be read: {reason}"
                if PREFIX in path.name:
                    self._hidden(path, text)
                else:
                    self.note(Severity.WARNING, path, text)
            return None
        if not stat.S_ISDIR(status.st_mode):
            return None
        try:
            return _Directory(path, status, self._files.entries(path))
        except FileNotFoundError:
            return None  # removed since it was listed
        except OSError as error:
            self._hidden(path, f"the directory cannot be read: {describe_error(error)}")
            return None

    def _hidden(self, path: Path, text: str) -> None:
        self.note(Severity.BROKEN, path, text)
        self.unreadable.append(self.problems[-1])

    def _is_link(self, path: Path) -> bool:
        try:
            return self._files.is_link(path)
        except OSError:
            return True


def _signature(directory: Path, entries: Mapping[str, bool], files: Files) -> Signature:
    return tuple(
        signed
        for name in sorted(_PART_FILES & entries.keys())
        if (signed := _file_signature(directory / name, files)) is not None
    )


def _file_signature(path: Path, files: Files) -> FileSignature | None:
    try:
        status = files.status(path)
    except OSError as error:
        try:
            missing = isinstance(error, FileNotFoundError) and not files.is_link(path)
        except OSError:
            missing = False
        return None if missing else (path.name, 0, 0, -(error.errno or 1))
    return path.name, status.st_mtime_ns, status.st_ctime_ns, status.st_size
