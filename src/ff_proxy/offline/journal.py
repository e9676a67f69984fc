"""Replacing several directories atomically, with a journal.

New directories are prepared in a hidden staging directory, by number. Writing the journal commits the new
state; then each directory is swapped, and finally the journal is removed. A process that finds a journal
without a writer completes it or, if it cannot write, reads as if it were complete.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ff_proxy.errors import OfflineDataError
from ff_proxy.file_reading import read_regular_file
from ff_proxy.offline.durable_files import Disk

STAGING: Final = ".ff-proxy-staging"
JOURNAL: Final = ".ff-proxy-journal.json"
_DRAFT: Final = ".ff-proxy-journal.draft"


def staged(root: Path, number: int) -> Path:
    """The staging directory that will replace directory ``number``."""
    return root / STAGING / "new" / str(number)


def commit(root: Path, directories: Sequence[Path], disk: Disk) -> None:
    """Commit what is staged: number n replaces the nth of ``directories`` below ``root``."""
    for number in range(len(directories)):
        disk.sync(staged(root, number))
    disk.sync(root / STAGING / "new")
    disk.sync(root / STAGING)
    names = [directory.relative_to(root).as_posix() for directory in directories]
    disk.remove(root / _DRAFT)
    disk.write(root / _DRAFT, msgspec.json.encode(names))
    disk.rename(root / _DRAFT, root / JOURNAL)
    disk.sync(root)


def is_committed(root: Path) -> bool:
    """Whether there is an incomplete swap."""
    return os.path.lexists(root / JOURNAL)


def complete(root: Path, disk: Disk) -> None:
    """Complete the swap and remove the journal; does nothing without a journal."""
    if not is_committed(root):
        return
    directories = _read(root)
    disk.make_directory(root / STAGING / "old")
    for number, directory in enumerate(directories):
        new, old = staged(root, number), root / STAGING / "old" / str(number)
        if not new.is_dir():
            continue  # already swapped
        if os.path.lexists(directory):
            disk.remove(old)
            disk.rename(directory, old)
        disk.rename(new, directory)
    for parent in sorted({root, *(directory.parent for directory in directories)}):
        disk.sync(parent)
    disk.remove(root / JOURNAL)
    disk.sync(root)
    disk.remove(root / STAGING)


def discard(root: Path, disk: Disk) -> None:
    """Remove staged directories that were not committed."""
    if not is_committed(root):
        disk.remove(root / _DRAFT)
        disk.remove(root / STAGING)


def unswapped(root: Path) -> Mapping[Path, Path]:
    """Directories that are committed but not swapped, and where they are."""
    if not is_committed(root):
        return {}
    pairs = ((directory, staged(root, number)) for number, directory in enumerate(_read(root)))
    return {directory: new for directory, new in pairs if new.is_dir()}


def _read(root: Path) -> list[Path]:
    path = root / JOURNAL
    try:
        names = msgspec.json.decode(read_regular_file(path), type=list[str])
    except FileNotFoundError:
        return []  # just completed by another process
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OfflineDataError(str(path), f"the write journal cannot be read: {error}") from error
    directories = [root / name for name in names]
    if any(".." in directory.parts or root not in directory.parents for directory in directories):
        raise OfflineDataError(str(path), "the write journal names a path outside the directory")
    return directories
