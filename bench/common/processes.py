"""Servers as processes: started, waited for, measured, and always ended with their children."""

import os
import resource
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.common.plan import BenchError

HOST = "127.0.0.1"
_TICKS = os.sysconf("SC_CLK_TCK")
_READY_WITHIN = 60.0
_PORTS_WITHIN = 30.0
_END_WITHIN = 15.0
_KEPT = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"})


@dataclass(frozen=True, slots=True)
class Server:
    """A running server on loopback; what its children use counts as its own."""

    name: str
    pid: int
    port: int

    def cpu(self) -> float:
        """Seconds of CPU used so far, in user space and in the kernel."""
        return sum(_cpu(pid) for pid in _family(self.pid))

    def resident(self) -> float:
        """Kilobytes in memory; what several processes share counts once for each."""
        return sum(_kilobytes(pid, "status", "VmRSS") for pid in _family(self.pid))

    def processes(self) -> int:
        """How many they are."""
        return len(_family(self.pid))


def this_process() -> Server:
    """This process, which serves nothing."""
    return Server("this process", os.getpid(), 0)


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    port: int,
    *,
    env: Mapping[str, str] | None = None,
    ready: Callable[[], bool] | None = None,
) -> Iterator[Server]:
    """A server for as long as the context lasts; it is there when ``ready`` (by default: it listens).

    Its environment is ``env`` and what a process needs anyway, so that nothing configures it unseen.
    Raises ``BenchError`` with the end of its log if it does not start.
    """
    inherited = {key: value for key, value in os.environ.items() if key in _KEPT}
    ready = ready or (lambda: listens(port))
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = _started(
            name, command, stdout=log.fileno(), stderr=log.fileno(), env={**inherited, **(env or {})}
        )
        with process:
            try:
                _await_ready(name, process, ready, lambda: _tail(log.fileno()))
                yield Server(name, process.pid, port)
            finally:
                end(process)


@contextmanager
def controlled(name: str, command: Sequence[str]) -> Iterator[tuple[Server, int]]:
    """A server that prints its port and its control port; it is ended afterwards.

    Raises ``BenchError`` if it does not. Only the controlling program connects to the control port.
    """
    process = _started(name, command, stdout=subprocess.PIPE)
    with process:
        try:
            assert process.stdout is not None
            said = select.select([process.stdout], [], [], _PORTS_WITHIN)[0]
            ports = process.stdout.readline().split() if said else []
            if len(ports) != 2:
                raise BenchError(f"{name} did not start; above is what it said, if anything")
            yield Server(name, process.pid, int(ports[0])), int(ports[1])
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to stop, and end it and whatever it started if it does not."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_END_WITHIN)
    finally:
        # It leads a group of its own: children that outlived it are in there.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does; no server outlives the context."""

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        # An interruption may have come while a server was being started, before its process was known.
        for child in _family(os.getpid())[1:]:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Raises ``BenchError`` in the context after that many seconds."""

    def over(*_: object) -> None:
        raise BenchError(f"{what} was not over within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def listens(port: int) -> bool:
    """Whether connections are accepted there."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def raise_file_limit() -> int:
    """Let this process and its children open as many files as the system allows; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    return hard


def _started(
    name: str,
    command: Sequence[str],
    *,
    stdout: int,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=env, start_new_session=True
        )
    except OSError as error:
        raise BenchError(f"{name} cannot be started: {error}") from error


def _await_ready(
    name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool], tail: Callable[[], str]
) -> None:
    limit = time.monotonic() + _READY_WITHIN
    while not ready():
        if process.poll() is not None or time.monotonic() > limit:
            raise BenchError(f"{name} is not ready, exit status {process.poll()}:\n{tail()}")
        time.sleep(0.01)


def _tail(log: int) -> str:
    size = os.fstat(log).st_size
    return os.pread(log, 4000, max(0, size - 4000)).decode(errors="replace")


def _family(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        listed = ""  # it has just ended
    return [pid, *(member for child in listed.split() for member in _family(int(child)))]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _kilobytes(pid: int, file: str, field: str) -> float:
    lines = Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field))
