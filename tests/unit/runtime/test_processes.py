"""Children as real processes of the system."""

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from ff_proxy.errors import ExitCode, StartupError
from ff_proxy.runtime.processes import ForkedProcesses, forked_processes
from ff_proxy.runtime.supervisor import Child, Ended

# Where other tests have left threads behind, Python warns of what only they could suffer from.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def until_end(pipe: int) -> ExitCode:
    """Wait to be told, or for the end of the pipe."""
    return ExitCode.OK if os.read(pipe, 100) else ExitCode.CRASH


def reaped(processes: ForkedProcesses, count: int = 1) -> list[Ended]:
    """The next ones to end."""
    found: list[Ended] = []
    end = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < end, "nobody ends"
        processes.wait(1)
        found += processes.ended()
    return found


def fails(error: BaseException) -> Callable[[int], ExitCode]:
    """A child that does."""

    def act(_: int) -> ExitCode:
        raise error

    return act


def test_a_child_is_told_through_its_pipe() -> None:
    """And its exit code is what it answers."""
    with forked_processes() as processes:
        pid = processes.start(Child("one", until_end))
        processes.stop(pid, 2)
        (ended,) = reaped(processes)
        assert (ended.pid, ended.code) == (pid, 0)
        pid = processes.start(Child("two", lambda _: ExitCode.CANNOT_START))
        assert [ended.code for ended in reaped(processes)] == [3]


def test_a_killed_child_says_which_signal_it_was() -> None:
    """In words, too."""
    with forked_processes() as processes:
        pid = processes.start(Child("one", until_end))
        processes.kill(pid)
        assert reaped(processes) == [Ended(pid, -9, "killed by signal 9 (Killed)")]
        processes.kill(pid)  # no error, if it is gone already


def test_errors_of_ours_are_exit_codes_and_others_crashes(capfd: pytest.CaptureFixture[str]) -> None:
    """Each with a line that says what."""
    with forked_processes() as processes:
        processes.start(Child("one", fails(StartupError("port 1 is taken"))))
        assert [ended.code for ended in reaped(processes)] == [ExitCode.CANNOT_START]
        processes.start(Child("two", fails(ValueError("what now"))))
        assert [ended.code for ended in reaped(processes)] == [ExitCode.CRASH]
        processes.start(Child("three", fails(SystemExit(0))))
        assert [ended.code for ended in reaped(processes)] == [ExitCode.CRASH]
    said = capfd.readouterr().err.splitlines()
    assert said[0] == "ff-proxy: port 1 is taken"
    assert "two crashed" in said[1]
    assert "what now" in said[1]


def test_children_hear_no_signals_and_the_parent_counts_them() -> None:
    """A terminal sends them to everybody; a child waits to be told."""
    with forked_processes() as processes:
        pid = processes.start(Child("one", until_end))
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
            os.kill(os.getpid(), number)
            processes.wait(5)
        assert processes.stop_requests() == 2
        assert not processes.ended()
        processes.stop(pid, 0)
        assert [ended.code for ended in reaped(processes)] == [0]


def test_the_end_of_the_parent_ends_every_pipe() -> None:
    """A child holds none of its siblings' open, however many there are."""
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        with forked_processes() as processes:

            def act(pipe: int) -> ExitCode:
                os.close(reading)
                code = until_end(pipe)
                os.write(writing, b"%d" % code)
                return code

            for number in range(3):
                processes.start(Child(str(number), act))
            os._exit(0)
    os.close(writing)
    os.waitpid(parent, 0)
    told = b""
    while part := os.read(reading, 100):
        told += part
    os.close(reading)
    assert told == b"111"


def test_what_waits_to_be_printed_is_printed_once(capfd: pytest.CaptureFixture[str]) -> None:
    """Not by every child again."""
    with forked_processes() as processes:
        sys.stdout.write("half a line ")
        for _ in range(2):
            processes.start(Child("one", lambda _: ExitCode.OK))
        reaped(processes, 2)
    sys.stdout.write("whole\n")
    sys.stdout.flush()
    assert capfd.readouterr().out == "half a line whole\n"
