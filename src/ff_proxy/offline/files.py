"""Reading files and directories."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ff_proxy.file_reading import read_regular_file

_MAX_BYTES: Final = 512 * 2**20


class Files:
    """Reads files and directories; raises ``OSError``. Tests replace it to inject failures."""

    def entries(self, directory: Path) -> Mapping[str, bool]:
        """The names in a directory, each with whether it may be a directory (or a link to one)."""
        with os.scandir(directory) as entries:
            return {entry.name: not entry.is_file(follow_symlinks=False) for entry in entries}

    def status(self, path: Path) -> os.stat_result:
        """The status of ``path``, following links."""
        return path.stat()

    def is_link(self, path: Path) -> bool:
        """Whether ``path`` is a link, even a broken one; ``False`` if it does not exist."""
        try:
            return stat.S_ISLNK(path.lstat().st_mode)
        except FileNotFoundError:
            return False

    def read(self, path: Path) -> bytes:
        """The content of a regular file; a pipe or a device could block for ever."""
        return read_regular_file(path, _MAX_BYTES)


def describe_error(error: OSError) -> str:
    """The system's message, without Python's error number and class."""
    return error.strerror or (os.strerror(error.errno) if error.errno is not None else str(error))
