"""Child processes: forking, stopping, killing and reaping them, and handling signals."""

import gc
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

from ff_proxy.errors import ExitCode, FfProxyError, StartupError
from ff_proxy.runtime.control_pipe import send_request, send_stop
from ff_proxy.runtime.early_signals import STOPPING, existing, was_signalled
from ff_proxy.runtime.signals import REQUESTS, ProcessRequest
from ff_proxy.runtime.stdio import flush_standard_output
from ff_proxy.runtime.supervisor import Child, Ended

# Terminals and some service managers signal every process at once; the supervisor decides the order.
_NOT_A_CHILDS: Final = (*STOPPING, *REQUESTS)
_HANDLED: Final = (*_NOT_A_CHILDS, *existing("SIGCHLD"))
_READ_BYTES: Final = 4096


def _nothing() -> None:
    return


class ForkedProcesses:
    """See ``Processes``; made by ``forked_processes``, in a process that has no other threads.

    Args:
        awake: the reading end of a pipe that every signal writes to.
        leave: called first in a child.
        reload: called in the supervisor, outside of signal handlers, to read files again.
    """

    def __init__(self, awake: int, leave: Callable[[], None], reload: Callable[[], object]) -> None:
        self._awake = awake
        self._reload = reload
        self._reload_asked = False
        self._leave = leave
        self._stop_requests = 0
        self._pipes: dict[int, int] = {}

    def request_stop(self) -> None:
        """Count a request for a shutdown."""
        self._stop_requests += 1

    def stop_requests(self) -> int:
        """See ``Processes``."""
        return self._stop_requests

    def start(self, child: Child) -> int:
        """See ``Processes``; raises ``StartupError`` if the system has no room for another process."""
        flush_standard_output()  # else its buffer would be written twice
        reading, writing = os.pipe()
        # No signal must find a child that still has its parent's handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if not pid:
                self._run_child(child, reading, writing, before)
        except OSError as error:
            os.close(writing)
            raise StartupError(f"no further process can be started: {error.strerror}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(reading)
        os.set_blocking(writing, False)
        self._pipes[pid] = writing
        return pid

    def stop(self, pid: int, seconds: float) -> None:
        """See ``Processes``."""
        send_stop(self._pipes[pid], seconds)

    def forward_request(self, wanted: ProcessRequest) -> None:
        """Pass a request on to every child, and serve it here at the next ``wait``."""
        self._reload_asked |= wanted is ProcessRequest.RELOAD
        for pipe in tuple(self._pipes.values()):
            send_request(pipe, wanted)

    @staticmethod
    def kill(pid: int) -> None:
        """See ``Processes``."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def ended(self) -> Sequence[Ended]:
        """See ``Processes``."""
        found = []
        for pid in tuple(self._pipes):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                os.close(self._pipes.pop(pid))
                code = os.waitstatus_to_exitcode(status)
                found.append(Ended(pid, code, _describe(code)))
        return found

    def wait(self, seconds: float | None) -> None:
        """See ``Processes``."""
        readable, _, _ = select.select([self._awake], [], [], seconds)
        if readable:
            os.read(self._awake, _READ_BYTES)
        if self._reload_asked:
            self._reload_asked = False
            self._reload()

    def close(self) -> None:
        """Close every pipe."""
        while self._pipes:
            os.close(self._pipes.popitem()[1])

    def _run_child(
        self, child: Child, reading: int, writing: int, mask: set[int | signal.Signals]
    ) -> NoReturn:
        """The child, from the fork to the end of its process."""
        code = ExitCode.CRASH
        try:
            for number in _NOT_A_CHILDS:
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._leave()
            # Siblings must see the end of their pipes when the parent dies: no copy may stay open here.
            for pipe in (*self._pipes.values(), writing):
                os.close(pipe)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            gc.enable()
            code = child.run(reading)
        except FfProxyError as error:
            code = error.exit_code
            with suppress(OSError):
                sys.stderr.write(f"ff-proxy: {error}\n")
        except BaseException as error:  # noqa: BLE001  (the last resort: there is no caller)
            with suppress(OSError):
                sys.stderr.write(f"ff-proxy: {child.name} crashed, please report this: {error!r}\n")
        finally:
            flush_standard_output()
            os._exit(code)


@contextmanager
def forked_processes(reload: Callable[[], object] = _nothing) -> Iterator[ForkedProcesses]:
    """Child processes; within the context, signals request a shutdown or are passed on.

    ``reload`` reads files again. Children that still run at the end see the end of their pipe.
    """
    awake, wake = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(wake, False)

    def leave() -> None:
        signal.set_wakeup_fd(-1)
        os.close(awake)
        os.close(wake)

    processes = ForkedProcesses(awake, leave, reload)

    def handle(number: int, _: object) -> None:
        if number in STOPPING:
            processes.request_stop()
        elif number in REQUESTS:
            processes.forward_request(REQUESTS[signal.Signals(number)])

    before = {number: signal.signal(number, handle) for number in _HANDLED}
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    if was_signalled(before.values()):
        processes.request_stop()
    gc.collect()
    gc.disable()
    gc.freeze()  # pages that are not written to stay shared with all children
    try:
        yield processes
    finally:
        gc.unfreeze()
        gc.enable()
        for number, handler in before.items():
            signal.signal(number, handler)
        leave()
        processes.close()


def _describe(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code} ({signal.strsignal(-code)})"
