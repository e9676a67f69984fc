"""How a supervisor controls its children: one pipe for each, from which the child reads.

A line with a number requests a shutdown within that many seconds, a second such line an immediate one; a
line with a word is a ``ProcessRequest``. The end of the pipe means that the supervisor is gone: then the
child shuts down by itself.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ff_proxy.runtime.signals import ProcessRequest, Stop

_READ_BYTES: Final = 4096
_WORDS: Final = {wanted.value.encode(): wanted for wanted in ProcessRequest}


def send_stop(pipe: int, seconds: float) -> None:
    """Have the child end within ``seconds``; no error if it has ended already."""
    _write(pipe, b"%f\n" % seconds)


def send_request(pipe: int, wanted: ProcessRequest) -> None:
    """Pass a request on to the child; no error if it has ended already."""
    _write(pipe, f"{wanted.value}\n".encode())


def _write(pipe: int, line: bytes) -> None:
    try:
        os.write(pipe, line)
    except (BrokenPipeError, BlockingIOError):
        return


@contextmanager
def stop_on_control(pipe: int) -> Iterator[Stop]:
    """A ``Stop`` that is set through ``pipe``, a descriptor; needs a running loop."""
    stop = Stop()
    loop = asyncio.get_running_loop()

    def read() -> None:
        received = os.read(pipe, _READ_BYTES)
        for line in received.splitlines():
            wanted = _WORDS.get(line)
            if wanted is None:
                stop.request_stop(float(line))
            else:
                stop.add_request(wanted)
        if not received:
            loop.remove_reader(pipe)
            if not stop.requested.is_set():
                stop.request_stop()

    os.set_blocking(pipe, False)
    loop.add_reader(pipe, read)
    try:
        yield stop
    finally:
        loop.remove_reader(pipe)
