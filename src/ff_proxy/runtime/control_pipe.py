"""How a supervisor tells its children to go down: a pipe each, of which a child holds the reading end.

A line with a number asks for a shutdown within that many seconds, a second line for one at once. The end of
the pipe means that the supervisor is gone: the child then goes down in order by itself.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ff_proxy.runtime.signals import Stop

_MOST: Final = 4096


def tell(pipe: int, seconds: float) -> None:
    """Ask whoever reads ``pipe`` to be gone within ``seconds``; no error if it is gone already."""
    try:
        os.write(pipe, b"%f\n" % seconds)
    except (BrokenPipeError, BlockingIOError):
        return


@contextmanager
def stop_on_control(pipe: int) -> Iterator[Stop]:
    """A ``Stop`` that hears what is told through ``pipe`` (a descriptor); needs a running loop."""
    stop = Stop()
    loop = asyncio.get_running_loop()

    def read() -> None:
        told = os.read(pipe, _MOST)
        for line in told.splitlines():
            stop.ask(float(line))
        if not told:
            loop.remove_reader(pipe)
            if not stop.asked.is_set():
                stop.ask()

    os.set_blocking(pipe, False)
    loop.add_reader(pipe, read)
    try:
        yield stop
    finally:
        loop.remove_reader(pipe)
