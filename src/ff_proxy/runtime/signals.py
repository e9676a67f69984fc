"""SIGTERM and SIGINT are ours: the first asks for a shutdown, the second for one at once."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

_OURS: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """What has been asked: ``asked`` by a first signal, ``at_once`` by a second one.

    ``taken_over`` says that somebody goes down in phases when asked, and is not to be cancelled.
    ``seconds`` is how long that may take if whoever asked has said so.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self.taken_over = False
        self.seconds: float | None = None

    def ask(self, seconds: float | None = None) -> None:
        """A signal came, or something that means the same."""
        if self.asked.is_set():
            self.at_once.set()
            return
        self.seconds = seconds
        self.asked.set()


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A ``Stop`` that hears SIGTERM and SIGINT for as long as the context lasts; needs a running loop."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in _OURS:
        loop.add_signal_handler(number, stop.ask)
    try:
        yield stop
    finally:
        for number in _OURS:
            loop.remove_signal_handler(number)


@contextmanager
def leave_on_signals() -> Iterator[None]:
    """Within the context, a signal that no loop hears ends the process with exit code 0.

    The first process of a container has no default action for SIGTERM: without this it would not end.
    """
    before = {number: signal.signal(number, _leave) for number in _OURS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(*_: object) -> NoReturn:
    sys.exit(0)
