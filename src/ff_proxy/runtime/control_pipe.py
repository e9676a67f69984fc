"""How a supervisor tells its children what to do: a pipe each, of which a child holds the reading end.

A line with a number asks for a shutdown within that many seconds, a second such line for one at once; a line
with a word is a ``ProcessRequest``. The end of the pipe means that the supervisor is gone: the child then
goes down in order by itself.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ff_proxy.runtime.signals import ProcessRequest, Stop

_MOST: Final = 4096
_WORDS: Final = {wanted.value.encode(): wanted for wanted in ProcessRequest}


def tell(pipe: int, seconds: float) -> None:
    """Ask whoever reads ``pipe`` to be gone within ``seconds``; no error if it is gone already."""
    _write(pipe, b"%f\n" % seconds)


def forward(pipe: int, wanted: ProcessRequest) -> None:
    """Ask whoever reads ``pipe`` for something else; no error if it is gone already."""
    _write(pipe, f"{wanted.value}\n".encode())


def _write(pipe: int, line: bytes) -> None:
    try:
        os.write(pipe, line)
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
            wanted = _WORDS.get(line)
            if wanted is None:
                stop.ask(float(line))
            else:
                stop.request(wanted)
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
