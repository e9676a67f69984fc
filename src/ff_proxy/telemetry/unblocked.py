"""Standard output whose reader may stall, without making the logger wait."""

import os
import select
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

_MOST_BYTES: Final = 256 * 1024
# A pipe, socket or terminal that is ready for writing has room for this much.
_CHUNK_BYTES: Final = 4096
_DRAIN_SECONDS: Final = 1.0
_STALLED_MILLISECONDS: Final = 200


class UnblockedOutput:
    """Writes what the reader of ``stream`` takes; the rest waits for the next line, up to a limit.

    Lines beyond it are dropped. Once the reader goes on, ``notice`` makes the line that says how many.
    """

    def __init__(self, stream: TextIO, notice: Callable[[int], str]) -> None:
        self._descriptor = _without_waiting(stream.fileno())
        self._notice = notice
        self._waiting = bytearray()
        self._dropped = 0
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, text: str) -> None:
        """See ``Output``."""
        data = text.encode("utf-8", "backslashreplace")
        if self._is_full(len(data)):
            self.flush()
        if self._is_full(len(data)):
            self._dropped += 1
        else:
            self._waiting += data

    def flush(self) -> None:
        """See ``Output``."""
        waiting = self._waiting
        try:
            while waiting and self._poll.poll(0):
                # Whole lines: other processes write to the same pipe.
                end = waiting.rfind(b"\n", 0, _CHUNK_BYTES) + 1 or _CHUNK_BYTES
                del waiting[: os.write(self._descriptor, waiting[:end])]
        except BlockingIOError:
            return  # another process was faster
        except OSError:
            waiting.clear()  # the reader has gone, or the disk of a terminal's log is full
            raise
        if self._dropped and not waiting:
            dropped, self._dropped = self._dropped, 0
            waiting += self._notice(dropped).encode()

    def drain(self) -> None:
        """Write what waits, at the end of the process; give up if the reader takes nothing for a moment."""
        end = time.monotonic() + _DRAIN_SECONDS
        with suppress(OSError):
            while self._waiting and time.monotonic() < end and self._poll.poll(_STALLED_MILLISECONDS):
                self.flush()

    def _is_full(self, more: int) -> bool:
        """Whether to drop a line: there is no room, or others were dropped and their notice comes first."""
        return bool(self._waiting) and (self._dropped > 0 or len(self._waiting) + more > _MOST_BYTES)


def _without_waiting(descriptor: int) -> int:
    """A descriptor of the same pipe that never blocks, where the system has one.

    ``poll`` is not enough: another process may fill the pipe in between. The given descriptor stays as it is,
    since programs that expect it to block may share it.
    """
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        with suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return descriptor


def may_stall(stream: TextIO) -> bool:
    """Whether ``stream`` is a pipe, a socket or a terminal, whose reader may stop reading."""
    with suppress(OSError, ValueError):
        mode = os.fstat(stream.fileno()).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)
    return False
