"""SIGTERM and SIGINT, heard for as long as the context lasts."""

import asyncio
import os
import signal
import sys

import pytest

from ff_proxy.runtime.signals import Stop, leave_on_signals, stop_on_signals


def test_the_second_signal_means_at_once() -> None:
    """The first one asks, the second one is impatient, and no further one changes anything."""
    stop = Stop()
    assert not stop.asked.is_set()
    stop.ask()
    assert stop.asked.is_set()
    assert not stop.at_once.is_set()
    for _ in range(2):
        stop.ask()
        assert stop.at_once.is_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_both_signals_are_heard(number: signal.Signals) -> None:
    """What containers send and what a terminal sends mean the same."""
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.asked.wait()


async def test_nothing_is_left_behind() -> None:
    """After the context the signals do what they do in any Python program."""
    with stop_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
async def test_before_there_is_a_loop_a_signal_ends_the_process(number: str) -> None:
    """Also where the process is the first of a container, which the default action does not end."""
    script = (
        "import os, signal, time\n"
        "from ff_proxy.runtime.signals import leave_on_signals\n"
        "with leave_on_signals():\n"
        f"    os.kill(os.getpid(), signal.{number})\n"
        "    time.sleep(10)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(10):
        _, said = await process.communicate()
    assert (process.returncode, said) == (0, b"")


def test_leaving_is_no_crash() -> None:
    """The handler ends the process as a clean exit does, and lasts as long as the context."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(SystemExit) as left, leave_on_signals():
        signal.raise_signal(signal.SIGTERM)
    assert left.value.code == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
