"""What signals mean, in every process and at every moment of its life.

See spec/behaviour#shutdown, spec/behaviour#reload.

SIGTERM, SIGINT and SIGQUIT request a shutdown, a second one an immediate shutdown. SIGHUP reads files again,
SIGUSR1 logs the tasks, SIGUSR2 is ignored: none of these ends the process, as they would by default.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final

from ff_proxy.runtime.early_signals import STOPPING, existing, was_signalled

_MOST_REQUESTS: Final = 8


class ProcessRequest(Enum):
    """What can be requested of a process besides its shutdown."""

    RELOAD = "reload"
    LOG_TASKS = "log-tasks"
    NOTHING = "nothing"


REQUESTS: Final[Mapping[signal.Signals, ProcessRequest]] = {
    number: wanted
    for name, wanted in (
        ("SIGHUP", ProcessRequest.RELOAD),
        ("SIGUSR1", ProcessRequest.LOG_TASKS),
        ("SIGUSR2", ProcessRequest.NOTHING),
    )
    for number in existing(name)
}
_HANDLED: Final = (*STOPPING, *REQUESTS)


def _nothing(_: float) -> None:
    return


class Stop:
    """A request for a shutdown: ``requested`` is set by a first signal, ``at_once`` by a second one.

    ``taken_over``: the main coroutine shuts down by itself and must not be cancelled. ``seconds`` is how long
    that may take, if the request says so. ``arm`` is called with the seconds after which the process ends,
    whatever hangs. ``requests`` are requests for other things.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.at_once = asyncio.Event()
        self.taken_over = False
        self.seconds: float | None = None
        self.arm: Callable[[float], None] = _nothing
        self.requests: asyncio.Queue[ProcessRequest] = asyncio.Queue(_MOST_REQUESTS)

    def request_stop(self, seconds: float | None = None) -> None:
        """Request a shutdown; the second time an immediate one."""
        if self.requested.is_set():
            self.at_once.set()
            return
        self.seconds = seconds
        self.requested.set()

    def add_request(self, wanted: ProcessRequest) -> None:
        """Request something else, which is served once the services run."""
        with suppress(asyncio.QueueFull):  # enough requests wait already
            self.requests.put_nowait(wanted)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A ``Stop`` that signals set within the context; needs a running loop."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _HANDLED}
    for number in STOPPING:
        loop.add_signal_handler(number, stop.request_stop)
    for number, wanted in REQUESTS.items():
        loop.add_signal_handler(number, stop.add_request, wanted)
    if was_signalled(before.values()):
        stop.request_stop()
    try:
        yield stop
    finally:
        for number in _HANDLED:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
