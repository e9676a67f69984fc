"""Ends a process whose shutdown hangs: in a library, on a disk, or in a thread that cannot be cancelled."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ff_proxy.errors import ExitCode

_MESSAGE: Final = "ff-proxy: the shutdown hangs, the process ends without waiting any longer\n"
# Standard error may hang as well.
_WRITE_SECONDS: Final = 0.2


class LastResort:
    """Ends the process with exit code 0 after the time that ``arm`` sets; ``disarm`` cancels that.

    ``at_end`` is called first, and has a moment. ``leave`` ends the process.
    """

    def __init__(self, at_end: Callable[[], object], leave: Callable[[int], object] = os._exit) -> None:
        self._at_end = at_end
        self._leave = leave
        self._timer: threading.Timer | None = None

    def arm(self, seconds: float) -> None:
        """End the process after so many seconds."""
        self.disarm()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        """The shutdown was complete."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        writing = threading.Thread(target=self._write, daemon=True)
        writing.start()
        writing.join(_WRITE_SECONDS)
        self._leave(ExitCode.OK)

    def _write(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(_MESSAGE)
            sys.stderr.flush()
            sys.stdout.flush()
            self._at_end()
