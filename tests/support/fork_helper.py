"""A process that has imported the proxy and forks it at request (see ``fork_server``, which starts it).

It has no threads and no event loop, and has opened nothing: a child is what ``ff-proxy`` is after its
imports. It ends when its socket does, and leaves its children alone.
"""

import json
import os
import selectors
import signal
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import anyio
import httpcore2

from ff_proxy import __main__ as program
from ff_proxy.runtime.gc_tuning import without_gc

_IMPORTED: Final = (
    *("cli", "app.run", "app.supervisor"),
    *("app.admin", "app.beside_sync", "app.directory", "app.harness", "app.redis"),
)
"""What servers import, whatever their role: see ``import_modules`` in ``ff_proxy.app.build``."""
_READ_BYTES: Final = 65536
_SENT_WITH_A_START: Final = 2
_STANDARD_FILES: Final = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Start:
    """What a child has to become.

    Attributes:
        arguments: behind the program's name.
        environ: all of its environment.
        directory: where it runs.
        output: a file descriptor for both outputs.
    """

    arguments: list[str]
    environ: dict[str, str]
    directory: str
    output: int


class Helper:
    """Forks, reaps and reports.

    Args:
        control: each byte that arrives brings a socket and an output. The socket then tells what to start;
            it is told the process id, and in the end the exit code (negative: the signal) and seconds of CPU.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, socket.socket] = {}

    def serve(self) -> Start | None:
        """Returns in each child: its start; and in the helper when nobody can ask for more: ``None``."""
        awake, wake = socket.socketpair()
        with ExitStack() as stack:
            for opened in (self._control, awake, wake):
                opened.setblocking(False)
                stack.enter_context(opened)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the tests, which end this helper
            signal.signal(signal.SIGCHLD, lambda *_: None)
            signal.set_wakeup_fd(wake.fileno())
            stack.callback(signal.set_wakeup_fd, -1)
            selector = stack.enter_context(selectors.DefaultSelector())
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(awake, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is awake:
                        awake.recv(_READ_BYTES)
                        self._reap()
                        continue
                    asked, descriptors, _, _ = socket.recv_fds(self._control, 1, _SENT_WITH_A_START)
                    if not asked:
                        return None
                    if start := self._fork(*descriptors):
                        return start

    def _fork(self, descriptor: int, output: int) -> Start | None:
        connection = socket.socket(fileno=descriptor)
        told = bytearray()
        while more := connection.recv(_READ_BYTES):
            told += more
        # No signal must find a child that still has the handlers of this process.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (connection, *self._children.values()):
                other.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return Start(**json.loads(told), output=output)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(output)
        self._children[pid] = connection
        connection.sendall(b"%d\n" % pid)
        return None

    def _reap(self) -> None:
        for pid in tuple(self._children):
            reaped, status, used = os.wait4(pid, os.WNOHANG)
            if reaped:
                with self._children.pop(pid) as connection:
                    code = os.waitstatus_to_exitcode(status)
                    try:
                        connection.sendall(b"%d %f\n" % (code, used.ru_utime + used.ru_stime))
                    except OSError:
                        continue  # nobody waits for it


def become(start: Start) -> None:
    """Take over what a new process is given by who starts it."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, standard in zip((nothing, start.output, start.output), _STANDARD_FILES, strict=True):
        os.dup2(source, standard)
    os.close(nothing)
    os.close(start.output)
    os.chdir(start.directory)
    os.environ.clear()
    os.environ.update(start.environ)
    sys.argv = [str(Path(program.__file__)), *start.arguments]


def _import_http_client() -> None:
    """What the client of HTTP imports only when it is used first: a twentieth of the CPU of short lives."""
    httpcore2.AsyncConnectionPool()
    anyio.run(anyio.sleep, 0)


def main() -> int:
    """Serve until the socket ends; in a child: run ``ff-proxy``, and return its exit code."""
    with without_gc():
        for module in _IMPORTED:
            import_module(f"ff_proxy.{module}")
        _import_http_client()
    start = Helper(socket.socket(fileno=int(sys.argv[1]))).serve()
    if start is None:
        return 0
    become(start)
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
