"""Telling what was removed from what merely cannot be seen at the moment.

Only a name that is absent from a directory that can be read, on the device that held it, was removed.
Everything else is an error: of permissions, of the device, of a link, of a volume that is not mounted.
"""

import os
import stat
from pathlib import Path

from ff_proxy.offline.files import Files, in_words
from ff_proxy.offline.layout import Location, locate


def why_not_found(root: Path, location: Location, files: Files) -> str:
    """Why no environment is found at ``location`` below ``root``: empty if it was removed, else the error."""
    below = location.path.relative_to(root).parts if location.path.is_relative_to(root) else ()
    parent: tuple[Path, os.stat_result] | None = None
    for number in range(len(below) + 1):
        path = root.joinpath(*below[:number])
        try:
            status = files.status(path)
        except FileNotFoundError:
            return _absent(path, parent, location.device, files)
        except OSError as error:
            return f"{path}: {in_words(error)}"
        if not stat.S_ISDIR(status.st_mode):
            return f"{path}: Not a directory"
        parent = path, status
    return _emptied(location, files)


def _absent(path: Path, parent: tuple[Path, os.stat_result] | None, device: int, files: Files) -> str:
    if parent is None:
        return f"{path}: No such file or directory"
    directory, status = parent
    try:
        if files.is_link(path):
            return f"{path}: the link leads to nothing"
        if path.name in files.entries(directory):
            return f"{path}: it changes while it is looked at"
    except OSError as error:
        return f"{directory}: {in_words(error)}"
    return _other_device(directory, status.st_dev, device)


def _emptied(location: Location, files: Files) -> str:
    try:
        now = locate(location.environment, location.path, files)
    except OSError as error:
        return f"{location.path}: {in_words(error)}"
    if now.signature:
        return f"{location.path}: it changes while it is looked at"
    return _other_device(location.path, now.device, location.device)


def _other_device(directory: Path, now: int, before: int) -> str:
    return "" if now == before else f"{directory}: the volume that held it is not mounted"
