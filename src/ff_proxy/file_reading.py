"""Reading files that an operator names: whatever is there, reading ends and takes bounded memory."""

import errno
import os
import select
import stat
import time
from pathlib import Path
from typing import BinaryIO, Final

MOST_BYTES: Final = 16 * 2**20
"""More than any file of options, secrets or certificates has."""

_PIPE_SECONDS: Final = 5.0
_CHUNK_BYTES: Final = 65536


def read_regular_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file of at most ``most`` bytes; anything else raises ``OSError``.

    A pipe could block for ever, and a device may never end.
    """
    with _opened(path) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        content = bytearray()
        # One read may return less, and a size may be wrong: of /proc it is 0.
        while status.st_size <= most and len(content) <= most:
            chunk = os.read(file.fileno(), _CHUNK_BYTES)
            if not chunk:
                return bytes(content)
            content += chunk
    raise _too_large(path)


def read_file_or_pipe(path: Path, seconds: float = _PIPE_SECONDS) -> bytes:
    """Like ``read_regular_file``, but also reads a pipe to its end: shells make one of ``<(command)``.

    Raises ``OSError``, also if a pipe has not ended after so many ``seconds``.
    """
    deadline = time.monotonic() + seconds
    content = bytearray()
    wait = True  # until its first writer comes, a pipe seems to be at its end
    with _opened(path) as file:
        while len(content) <= MOST_BYTES:
            if wait and not _readable(file, deadline):
                raise OSError(errno.ETIMEDOUT, f"Nobody wrote it to its end within {seconds:g} s", str(path))
            try:
                chunk = os.read(file.fileno(), _CHUNK_BYTES)
            except BlockingIOError:
                wait = True
                continue
            if not chunk:
                return bytes(content)
            content += chunk
            wait = False
    raise _too_large(path)


def _opened(path: Path) -> BinaryIO:
    """``path``, opened without waiting for a writer."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.close(handle)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return os.fdopen(handle, "rb", buffering=0)


def _readable(file: BinaryIO, deadline: float) -> bool:
    """Whether there is something to read, or the end, before the deadline."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _too_large(path: Path) -> OSError:
    return OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
