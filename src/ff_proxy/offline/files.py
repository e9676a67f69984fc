"""Looking at files and directories, each step one that a file system can refuse."""

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_LARGEST: Final = 512 * 2**20


class Files:
    """Reads files and directories; raises ``OSError``. Tests replace it by one that fails."""

    def entries(self, directory: Path) -> Mapping[str, bool]:
        """The names in a directory, each with whether it may be a directory itself (or a link to one)."""
        with os.scandir(directory) as entries:
            return {entry.name: not entry.is_file(follow_symlinks=False) for entry in entries}

    def status(self, path: Path) -> os.stat_result:
        """What is at ``path``, links followed."""
        return path.stat()

    def is_link(self, path: Path) -> bool:
        """Whether ``path`` is a link, to whatever or to nothing; ``False`` if nothing is there."""
        try:
            return stat.S_ISLNK(path.lstat().st_mode)
        except FileNotFoundError:
            return False

    def read(self, path: Path) -> bytes:
        """The content of a regular file: a pipe or a device could hold the reader for ever."""
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "Not a regular file", str(path))
            if status.st_size > _LARGEST:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
            return file.read(_LARGEST)


def in_words(error: OSError) -> str:
    """What the system says, without numbers and names of Python."""
    return error.strerror or (os.strerror(error.errno) if error.errno is not None else str(error))
