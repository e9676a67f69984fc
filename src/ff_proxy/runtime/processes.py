"""Children as forked processes: starting, telling, killing and reaping them, and hearing signals."""

import gc
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

from ff_proxy.errors import ExitCode, FfProxyError, StartupError
from ff_proxy.runtime.control_pipe import forward, tell
from ff_proxy.runtime.early_signals import STOPPING
from ff_proxy.runtime.signals import REQUESTS, ProcessRequest
from ff_proxy.runtime.stdio import flush_standard_output
from ff_proxy.runtime.supervisor import Child, Ended

# A terminal and some supervisors signal every process at once. The order in which we go down is ours.
_NOT_A_CHILDS: Final = (*STOPPING, *REQUESTS)
_HEARD: Final = (*_NOT_A_CHILDS, signal.SIGCHLD)
_MOST: Final = 4096


def _nothing() -> None:
    return


class ForkedProcesses:
    """See ``Processes``; made by ``forked_processes``, in a process that has no other threads.

    Args:
        awake: the reading end of a pipe to which every signal writes.
        leave: called first thing in a child.
        reload: called here, outside of signal handlers, when files are to be read again.
    """

    def __init__(self, awake: int, leave: Callable[[], None], reload: Callable[[], object]) -> None:
        self._awake = awake
        self._reload = reload
        self._reload_asked = False
        self._leave = leave
        self._asked = 0
        self._pipes: dict[int, int] = {}

    def ask(self) -> None:
        """A shutdown is asked for."""
        self._asked += 1

    def asked(self) -> int:
        """See ``Processes``."""
        return self._asked

    def start(self, child: Child) -> int:
        """See ``Processes``; raises ``StartupError`` if the system has no room for another process."""
        flush_standard_output()  # what waits there would be written twice
        reading, writing = os.pipe()
        # No signal must find a child that still has its parent's handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        try:
            pid = os.fork()
            if not pid:
                self._be(child, reading, writing, before)
        except OSError as error:
            os.close(writing)
            raise StartupError(f"no further process can be started: {error.strerror}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(reading)
        os.set_blocking(writing, False)
        self._pipes[pid] = writing
        return pid

    def tell(self, pid: int, seconds: float) -> None:
        """See ``Processes``."""
        tell(self._pipes[pid], seconds)

    def forward(self, wanted: ProcessRequest) -> None:
        """Ask every child for it, and do our own part at the next ``wait``."""
        self._reload_asked |= wanted is ProcessRequest.RELOAD
        for pipe in tuple(self._pipes.values()):
            forward(pipe, wanted)

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
                found.append(Ended(pid, code, _why(code)))
        return found

    def wait(self, seconds: float | None) -> None:
        """See ``Processes``."""
        readable, _, _ = select.select([self._awake], [], [], seconds)
        if readable:
            os.read(self._awake, _MOST)
        if self._reload_asked:
            self._reload_asked = False
            self._reload()

    def close(self) -> None:
        """Let go of every pipe."""
        while self._pipes:
            os.close(self._pipes.popitem()[1])

    def _be(self, child: Child, reading: int, writing: int, mask: set[int | signal.Signals]) -> NoReturn:
        """Be the child, from the fork to the end of its process."""
        code = ExitCode.CRASH
        try:
            for number in _NOT_A_CHILDS:
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._leave()
            # Its siblings' pipes would stay open here when the parent dies, and they would not hear of it.
            for pipe in (*self._pipes.values(), writing):
                os.close(pipe)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            gc.enable()
            code = child.run(reading)
        except FfProxyError as error:
            code = error.exit_code
            with suppress(OSError):
                sys.stderr.write(f"ff-proxy: {error}\n")
        except BaseException as error:  # noqa: BLE001  (the last resort: there is nobody above)
            with suppress(OSError):
                sys.stderr.write(f"ff-proxy: {child.name} crashed, please report this: {error!r}\n")
        finally:
            flush_standard_output()
            os._exit(code)


@contextmanager
def forked_processes(reload: Callable[[], object] = _nothing) -> Iterator[ForkedProcesses]:
    """Children of this process; while the context lasts, signals ask for a shutdown or are passed on.

    ``reload`` is called besides when files are to be read again.

    What is still running when it ends is told so by the end of its pipe.
    """
    awake, wake = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(wake, False)

    def leave() -> None:
        signal.set_wakeup_fd(-1)
        os.close(awake)
        os.close(wake)

    processes = ForkedProcesses(awake, leave, reload)

    def hear(number: int, _: object) -> None:
        if number in STOPPING:
            processes.ask()
        elif number in REQUESTS:
            processes.forward(REQUESTS[signal.Signals(number)])

    before = {number: signal.signal(number, hear) for number in _HEARD}
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    gc.collect()
    gc.disable()
    gc.freeze()  # what is there now is shared with all children, as long as nobody touches it
    try:
        yield processes
    finally:
        gc.unfreeze()
        gc.enable()
        for number, handler in before.items():
            signal.signal(number, handler)
        leave()
        processes.close()


def _why(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code} ({signal.strsignal(-code)})"
