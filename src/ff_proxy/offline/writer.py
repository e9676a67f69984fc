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
from ff_proxy.offline.durable_files import Disk, only_writer
from ff_proxy.offline.format import OfflineEnvironment, encode_environment, read_environment
from ff_proxy.offline.journal import commit, complete, discard, staged
from ff_proxy.offline.layout import OWN_FILES, PREFIX, Finding, find, locate
from ff_proxy.offline.problems import Severity

_PROBE: Final = ".ff-proxy-probe"


class Written(msgspec.Struct, frozen=True):
    """What a write did: where each environment is now, and those found there that were not written.

    ``narrowed`` are directories that other users could read before, and cannot now.
    """

    directories: tuple[Path, ...]
    untouched: tuple[EnvironmentId, ...]
    narrowed: tuple[Path, ...]


def check_writable(root: Path, disk: Disk | None = None) -> None:
    """Make sure that ``root`` can be written to, and make it if it is not there.

    Raises ``StartupError`` that names the user id and says what to do.
    """
    disk = disk if disk is not None else Disk()
    probe = root / _PROBE
    refusal = (
        f"the config directory {root} cannot be written by user id {os.getuid()}; "
        "change its owner or its mode, or mount it writable"
    )
    with _translated(refusal):
        disk.make_directory(root)
        disk.remove(probe)
        disk.write(probe, b"")
        disk.remove(probe)


def write_directory(
    root: Path, environments: Sequence[OfflineEnvironment], written: float, disk: Disk | None = None
) -> Written:
    """Bring ``environments`` into force below ``root``, all of them or, if anything fails, none.

    An environment stays where it is found; a new one becomes ``root/env-<id>``. Files that are not of the
    format, and environments that are not written, stay as they are. Blocks: call it in a thread.

    Args:
        root: the directory; see ``check_writable``.
        environments: what to write; must be usable as it is.
        written: seconds since the epoch, for people.
        disk: how to write.

    Raises ``StartupError``: the old state is in force, unless the message says otherwise.
    """
    disk = disk if disk is not None else Disk()
    with _translated(f"nothing was changed in {root}: writing failed"), only_writer(root) as alone:
        if not alone:
            raise StartupError(f"another process is writing {root}; try again when it has ended")
        complete(root, disk)
        discard(root, disk)
        finding = find(root)
        for problem in finding.unreadable:
            raise StartupError(f"it is unclear where to write, because not everything can be read: {problem}")
        places = [_place(root, finding, environment.config.id) for environment in environments]
        opened = tuple(place for place in places if _is_open(place))
        try:
            for number, environment in enumerate(environments):
                _stage(staged(root, number), places[number], environment, written, disk)
                _verify(staged(root, number), environment)
            commit(root, places, disk)
        finally:
            discard(root, disk)
        with _translated(f"{root} is not complete yet, which the next run or start will make up for"):
            complete(root, disk)
    ids = {environment.config.id for environment in environments}
    others = (location.environment for location in finding.locations)
    return Written(tuple(places), tuple(name for name in others if name not in ids), opened)


def _is_open(directory: Path) -> bool:
    """Whether other users can read what is there."""
    try:
        return bool(directory.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except FileNotFoundError:
        return False


def _place(root: Path, finding: Finding, environment: EnvironmentId) -> Path:
    """The directory that an environment is or will be in; refuses places that cannot be swapped safely."""
    if not environment or "/" in environment or "\0" in environment:
        raise StartupError(f"no directory can be named after environment {environment!r}")
    if environment in finding.disputed:
        problem = next(str(one) for one in finding.problems if one.severity is Severity.BROKEN)
        raise StartupError(f"it is unclear where to write: {problem}")
    known = {location.environment: location.path for location in finding.locations}
    place = known.get(environment, root / f"{PREFIX}{environment}")
    if place == root:
        raise StartupError(f"{root} is itself the directory of an environment; give the one above it")
    below = (place, *(parent for parent in place.parents if root in parent.parents))
    if any(one.is_symlink() for one in below) or os.path.ismount(place):
        raise StartupError(f"{place} is a link or a mount, so it cannot be replaced; give its own directory")
    return place


def _stage(new: Path, place: Path, environment: OfflineEnvironment, written: float, disk: Disk) -> None:
    disk.make_directory(new)
    if place.is_dir():
        for entry in sorted(place.iterdir()):
            if entry.name not in OWN_FILES:
                disk.copy(entry, new / entry.name)
    for name, data in encode_environment(environment, written).items():
        disk.write(new / name, data)


def _verify(new: Path, meant: OfflineEnvironment) -> None:
    """Read back what was staged: it has to be what was meant, before anything comes into force."""
    name = meant.config.id
    reading = read_environment(locate(name, new))
    for problem in reading.problems:
        raise StartupError(f"environment {name} cannot be written so that it reads back: {problem}")
    if reading.environment is None or _essence(reading.environment) != _essence(meant):
        raise StartupError(f"environment {name} does not read back as it was written; nothing was changed")


def _essence(environment: OfflineEnvironment) -> object:
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
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        raise StartupError(f"{what}: {error.strerror}{place}") from error
    except OfflineDataError as error:
        raise StartupError(f"{what}: {error}") from error
