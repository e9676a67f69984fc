"""Where things are in an offline directory: which directories are environments, which files they hold.

As in the Go proxy: at any depth, every directory whose name contains ``env-`` and that holds at least one of
the files is an environment, and its id is the name without a leading ``env-``. Hidden directories are left
out (Kubernetes keeps the versions of a mounted ConfigMap there, and ``ff-proxy`` what it is about to write),
and so are those that operating systems and archivers add to every volume.
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
from ff_proxy.offline.files import Files, in_words
from ff_proxy.offline.problems import Problem, Severity

PREFIX: Final = "env-"
README: Final = "README.md"
YAML_SUFFIXES: Final = (".yaml", ".yml")
SUFFIXES: Final = (".json", *YAML_SUFFIXES)
_DEEPEST: Final = 16
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
    """The files of an environment; the values are their names without suffix."""

    KEYS = "auth_config"
    FLAGS = "feature_config"
    SEGMENTS = "segments"
    TARGETS = "targets"


_PART_FILES: Final = frozenset(part.value + suffix for part in Part for suffix in SUFFIXES)

OWN_FILES: Final = frozenset({README, *_PART_FILES})
"""Every name of a file that this format gives a meaning to."""

FileSignature = tuple[str, int, int, int, int]
"""A file's name, times, size and inode; a negative size is the number of the error that it gave."""

Signature = tuple[FileSignature, ...]
"""What tells that a directory's files may have changed."""


class Location(msgspec.Struct, frozen=True):
    """An environment's directory, its device, and what its files looked like when it was found."""

    environment: EnvironmentId
    path: Path
    signature: Signature
    device: int

    def files_of(self, part: Part) -> list[str]:
        """The names of the files that hold a part, the one to be read first; usually one or none."""
        names = {entry[0] for entry in self.signature}
        return [name for suffix in SUFFIXES if (name := part.value + suffix) in names]


class Finding(msgspec.Struct, frozen=True):
    """The environments below a directory, and what was wrong in looking for them.

    ``disputed`` are environments that two directories claim; they are not among the ``locations``.
    ``unreadable`` are those of the problems that may hide an environment. ``identity`` is the device and the
    inode of the directory that was looked at.
    """

    locations: tuple[Location, ...]
    disputed: frozenset[EnvironmentId]
    problems: tuple[Problem, ...]
    unreadable: tuple[Problem, ...] = ()
    identity: tuple[int, int] = (0, 0)


def find(root: Path, files: Files | None = None) -> Finding:
    """Every environment below ``root``, or that ``root`` is.

    A directory below that cannot be read is among the problems.
    Raises ``OfflineDataError`` if ``root`` is no directory or cannot be read.
    """
    files = files if files is not None else Files()
    try:
        top = _Directory(root, files.status(root), files.entries(root))
    except OSError as error:
        raise OfflineDataError(str(root), f"the directory cannot be read: {in_words(error)}") from error
    found: dict[EnvironmentId, Location] = {}
    twice: set[EnvironmentId] = set()
    walk = _Walk(files)
    for directory in walk.through(top):
        location = walk.claimed(directory, is_root=directory is top)
        if location is None:
            continue
        other = found.setdefault(location.environment, location)
        if other is not location and not walk.same(location.path, other.path):
            twice.add(location.environment)
            text = f"environment {location.environment!r} is also in {other.path}; remove one of the two"
            walk.note(Severity.BROKEN, location.path, text)
    undisputed = tuple(location for name, location in found.items() if name not in twice)
    problems, unreadable = tuple(walk.problems), tuple(walk.unreadable)
    return Finding(undisputed, frozenset(twice), problems, unreadable, top.identity)


def locate(environment: EnvironmentId, path: Path, files: Files | None = None) -> Location:
    """The location that ``find`` would give for the directory ``path`` now; raises ``OSError``."""
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
    """Goes through directories and collects what is wrong with them."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.problems: list[Problem] = []
        self.unreadable: list[Problem] = []

    def through(self, directory: _Directory, above: tuple[tuple[int, int], ...] = ()) -> Iterator[_Directory]:
        """``directory`` and every one below; links are followed, but never around in a circle."""
        yield directory
        around = (*above, directory.identity)
        for name in sorted(name for name, may_be in directory.entries.items() if may_be):
            if name.startswith(".") or name in _FOREIGN or name in OWN_FILES:
                continue
            below = self._open(directory.path / name)
            if below is None or below.identity in around:
                continue
            if len(around) > _DEEPEST:
                self.note(Severity.WARNING, below.path, "it is nested too deeply and not looked into")
                continue
            yield from self.through(below, around)

    def claimed(self, directory: _Directory, *, is_root: bool) -> Location | None:
        """The environment that a directory is, if it is one."""
        name = directory.path.name
        if PREFIX not in name:
            return None
        signature = _signature(directory.path, directory.entries, self._files)
        if not signature:
            if not is_root and name.startswith(PREFIX):
                text = "it holds none of an environment's files, so it is no environment"
                self.note(Severity.WARNING, directory.path, text)
            return None
        environment = EnvironmentId(name.removeprefix(PREFIX))
        if not environment.isprintable():
            self.note(Severity.BROKEN, directory.path, "no environment id can be read from its name")
            return None
        return Location(environment, directory.path, signature, directory.status.st_dev)

    def same(self, one: Path, other: Path) -> bool:
        """Whether two paths lead to one directory; what cannot be looked at is not the same."""
        try:
            return os.path.samestat(self._files.status(one), self._files.status(other))
        except OSError:
            return False

    def note(self, severity: Severity, path: Path, text: str) -> None:
        """Something is wrong with what is at ``path``."""
        self.problems.append(Problem(severity, str(path), "", text))

    def _open(self, path: Path) -> _Directory | None:
        try:
            status = self._files.status(path)
        except OSError as error:
            # It need not be a directory at all: a link to nothing is only serious where one was meant.
            if not isinstance(error, FileNotFoundError) or self._is_link(path):
                why = "the link leads to nothing" if isinstance(error, FileNotFoundError) else in_words(error)
                text = f"it cannot be read: {why}"
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
            return None  # gone since it was listed
        except OSError as error:
            self._hidden(path, f"the directory cannot be read: {in_words(error)}")
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
            gone = isinstance(error, FileNotFoundError) and not files.is_link(path)
        except OSError:
            gone = False
        return None if gone else (path.name, 0, 0, -(error.errno or 1), 0)
    return path.name, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
