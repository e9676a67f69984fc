"""Where things are in an offline directory: which directories are environments, which files they hold.

As the Go proxy has it: at any depth, every directory whose name contains ``env-`` is an environment, and
its id is the name without a leading ``env-``. Hidden directories are left out: Kubernetes keeps the versions
of a mounted ConfigMap there, and ``ff-proxy`` what it is about to write.
"""

import os
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.problems import Problem, Severity

PREFIX: Final = "env-"
README: Final = "README.md"
SUFFIXES: Final = (".json", ".yaml", ".yml")
_DEEPEST: Final = 16


class Part(Enum):
    """The files of an environment; the values are their names without suffix."""

    KEYS = "auth_config"
    FLAGS = "feature_config"
    SEGMENTS = "segments"
    TARGETS = "targets"


OWN_FILES: Final = frozenset({README, *(part.value + suffix for part in Part for suffix in SUFFIXES)})
"""Every name of a file that this format gives a meaning to."""

Signature = tuple[tuple[str, int, int, int, int], ...]
"""What tells that a directory's files may have changed: names, times, sizes and inodes."""


class Location(msgspec.Struct, frozen=True):
    """An environment's directory, and what its files looked like when it was found."""

    environment: EnvironmentId
    path: Path
    signature: Signature


class Finding(msgspec.Struct, frozen=True):
    """The environments below a directory, and what was wrong in looking for them.

    ``disputed`` are environments that two directories claim; they are not among the ``locations``.
    """

    locations: tuple[Location, ...]
    disputed: frozenset[EnvironmentId]
    problems: tuple[Problem, ...]


def find(root: Path) -> Finding:
    """Every environment below ``root``, or that ``root`` is.

    Raises ``OfflineDataError`` if ``root`` is no directory or cannot be read.
    """
    try:
        status = root.stat()
        os.scandir(root).close()
    except OSError as error:
        raise OfflineDataError(str(root), f"the directory cannot be read: {error.strerror}") from error
    found: dict[EnvironmentId, Location] = {}
    twice: set[EnvironmentId] = set()
    problems: list[Problem] = []
    for path in _directories(root, (status.st_dev, status.st_ino), problems):
        if PREFIX not in path.name:
            continue
        signature = _signature(path)
        if not signature and (path == root or not path.name.startswith(PREFIX)):
            continue  # a name that only resembles an environment's
        environment = EnvironmentId(path.name.removeprefix(PREFIX))
        other = found.setdefault(environment, Location(environment, path, signature))
        if other.path != path and not path.samefile(other.path):
            twice.add(environment)
            text = f"environment {environment!r} is also in {other.path}; remove one of the two"
            problems.append(Problem(Severity.BROKEN, str(path), "", text))
    undisputed = tuple(location for name, location in found.items() if name not in twice)
    return Finding(undisputed, frozenset(twice), tuple(problems))


def signature_of(path: Path) -> Signature:
    """The signature that ``find`` would see at ``path`` now; empty if the directory is gone."""
    return _signature(path)


def files_of(directory: Path, part: Part) -> list[Path]:
    """The files that hold a part, the one to be read first; usually one or none."""
    candidates = (directory / (part.value + suffix) for suffix in SUFFIXES)
    return [path for path in candidates if os.path.lexists(path)]


def _directories(
    directory: Path,
    identity: tuple[int, int],
    problems: list[Problem],
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[Path]:
    """``directory`` and every one below; links are followed, but never around in a circle."""
    yield directory
    if len(above) >= _DEEPEST:
        return
    try:
        with os.scandir(directory) as entries:
            below = sorted(
                entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()
            )
    except OSError as error:
        text = f"the directory cannot be read: {error.strerror}"
        problems.append(Problem(Severity.WARNING, str(directory), "", text))
        return
    for name in below:
        path = directory / name
        try:
            status = path.stat()
        except OSError:
            continue  # gone since it was listed
        inner = (status.st_dev, status.st_ino)
        if inner not in above and inner != identity:
            yield from _directories(path, inner, problems, (*above, identity))


def _signature(directory: Path) -> Signature:
    parts = []
    for name in sorted(OWN_FILES - {README}):
        try:
            status = (directory / name).stat()
        except OSError:
            continue
        parts.append((name, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return tuple(parts)
