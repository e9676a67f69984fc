"""The end of a process whose orderly end hangs: on a library, a disk, or a thread that nobody can cancel."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ff_proxy.errors import ExitCode

_LAST_WORDS: Final = "ff-proxy: the shutdown hangs, the process ends without waiting any longer\n"
# Standard error may hang as well.
_TALK_SECONDS: Final = 0.2


class LastResort:
    """Ends the process with exit code 0 when the time that ``arm`` gave is over; ``disarm`` calls that off.

    ``leave`` ends the process.
    """

    def __init__(self, leave: Callable[[int], object] = os._exit) -> None:
        self._leave = leave
        self._timer: threading.Timer | None = None

    def arm(self, seconds: float) -> None:
        """From now on there are so many seconds."""
        self.disarm()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        """The end was orderly."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        talking = threading.Thread(target=_say, daemon=True)
        talking.start()
        talking.join(_TALK_SECONDS)
        self._leave(ExitCode.OK)


def _say() -> None:
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.write(_LAST_WORDS)
        sys.stderr.flush()
