"""Distinguishing what was removed from what merely cannot be read at the moment.

Something was removed only if its name is absent from a readable directory on the same device. Anything else
is an error: permissions, the device, a broken link, an unmounted volume.
"""

import os
import stat
from pathlib import Path

from ff_proxy.offline.files import Files, describe_error
from ff_proxy.offline.layout import Location, locate


def why_missing(root: Path, location: Location, files: Files) -> str:
    """Why there is no environment at ``location`` below ``root``: empty if it was removed, else the error."""
    below = location.path.relative_to(root).parts if location.path.is_relative_to(root) else ()
    parent: tuple[Path, os.stat_result] | None = None
    for number in range(len(below) + 1):
        path = root.joinpath(*below[:number])
        try:
            status = files.status(path)
        except FileNotFoundError:
            return _is_absent(path, parent, location.device, files)
        except OSError as error:
            return f"{path}: {describe_error(error)}"
        if not stat.S_ISDIR(status.st_mode):
            return f"{path}: Not a directory"
        parent = path, status
    return _was_emptied(location, files)


def _is_absent(path: Path, parent: tuple[Path, os.stat_result] | None, device: int, files: Files) -> str:
    if parent is None:
        return f"{path}: No such file or directory"
    directory, status = parent
    try:
        if files.is_link(path):
            return f"{path}: the link is broken"
        if path.name in files.entries(directory):
            return f"{path}: it changed during the scan"
    except OSError as error:
        return f"{directory}: {describe_error(error)}"
    return _other_device(directory, status.st_dev, device)


def _was_emptied(location: Location, files: Files) -> str:
    try:
        now = locate(location.environment, location.path, files)
    except OSError as error:
        return f"{location.path}: {describe_error(error)}"
    if now.signature:
        return f"{location.path}: it changed during the scan"
    return _other_device(location.path, now.device, location.device)


def _other_device(directory: Path, now: int, before: int) -> str:
    return "" if now == before else f"{directory}: its volume is not mounted"
