"""What signals mean here, in every process and at every moment of its life.

See spec/behaviour#shutdown, spec/behaviour#reload.

SIGTERM, SIGINT and SIGQUIT ask for a shutdown, a second one for one at once. SIGHUP has files read again,
SIGUSR1 has the tasks logged, SIGUSR2 is ignored: none of them ends the process, as they would by default.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final

from ff_proxy.runtime.early_signals import STOPPING

_MOST_REQUESTS: Final = 8


class ProcessRequest(Enum):
    """What a process may be asked for besides its end."""

    RELOAD = "reload"
    LOG_TASKS = "log-tasks"
    NOTHING = "nothing"


REQUESTS: Final[Mapping[signal.Signals, ProcessRequest]] = {
    signal.SIGHUP: ProcessRequest.RELOAD,
    signal.SIGUSR1: ProcessRequest.LOG_TASKS,
    signal.SIGUSR2: ProcessRequest.NOTHING,
}
_HEARD: Final = (*STOPPING, *REQUESTS)


def _nothing(_: float) -> None:
    return


class Stop:
    """What has been asked: ``asked`` by a first signal, ``at_once`` by a second one.

    ``taken_over`` says that somebody goes down in phases when asked, and is not to be cancelled.
    ``seconds`` is how long that may take if whoever asked has said so. ``arm`` is told how many seconds are
    left in any case, whatever hangs. ``requests`` are the other things that have been asked for.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self.taken_over = False
        self.seconds: float | None = None
        self.arm: Callable[[float], None] = _nothing
        self.requests: asyncio.Queue[ProcessRequest] = asyncio.Queue(_MOST_REQUESTS)

    def ask(self, seconds: float | None = None) -> None:
        """A signal came, or something that means the same."""
        if self.asked.is_set():
            self.at_once.set()
            return
        self.seconds = seconds
        self.asked.set()

    def request(self, wanted: ProcessRequest) -> None:
        """Something else is asked for; it is done when the process serves."""
        with suppress(asyncio.QueueFull):  # as much waits to be done already
            self.requests.put_nowait(wanted)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A ``Stop`` that hears signals for as long as the context lasts; needs a running loop."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _HEARD}
    for number in STOPPING:
        loop.add_signal_handler(number, stop.ask)
    for number, wanted in REQUESTS.items():
        loop.add_signal_handler(number, stop.request, wanted)
    try:
        yield stop
    finally:
        for number in _HEARD:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
