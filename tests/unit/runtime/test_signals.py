"""Every signal that a terminal or a service manager sends, heard for as long as the context lasts."""

import asyncio
import os
import signal
import sys
import weakref

import pytest

from ff_proxy.runtime.early_signals import HARMLESS, STOPPING, leave_on_signals, signals_deferred
from ff_proxy.runtime.processes import forked_processes
from ff_proxy.runtime.signals import REQUESTS, ProcessRequest, Stop, stop_on_signals


def test_the_second_signal_means_at_once() -> None:
    """The first one asks, the second one is impatient, and no further one changes anything."""
    stop = Stop()
    assert not stop.requested.is_set()
    stop.request_stop()
    assert stop.requested.is_set()
    assert not stop.at_once.is_set()
    for _ in range(2):
        stop.request_stop()
        assert stop.at_once.is_set()


@pytest.mark.parametrize("number", STOPPING)
async def test_signals_that_ask_for_the_end_are_heard(number: signal.Signals) -> None:
    """What containers send and what a terminal sends mean the same."""
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.requested.wait()


@pytest.mark.parametrize("number", HARMLESS)
async def test_other_signals_are_requests_and_end_nothing(number: signal.Signals) -> None:
    """Nobody is asked to stop; more than anybody can want at once is dropped."""
    with stop_on_signals() as stop:
        for _ in range(50):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await stop.requests.get() is REQUESTS[number]
        assert stop.requests.qsize() < 10
        assert not stop.requested.is_set()


def test_every_request_has_a_signal_and_no_signal_two_meanings() -> None:
    """What is ignored before there is a loop is heard by the loop."""
    assert set(REQUESTS) == set(HARMLESS)
    assert set(REQUESTS.values()) == set(ProcessRequest)
    assert not set(HARMLESS) & set(STOPPING)


async def test_what_was_there_before_is_there_again() -> None:
    """Within whatever context, so that no moment is left in which a signal kills."""
    numbers = (*STOPPING, *HARMLESS)
    outside = [signal.getsignal(number) for number in numbers]
    with leave_on_signals():
        before = [signal.getsignal(number) for number in numbers]
        assert signal.SIG_DFL not in before
        with stop_on_signals():
            assert [signal.getsignal(number) for number in numbers] != before
        assert [signal.getsignal(number) for number in numbers] == before
    assert [signal.getsignal(number) for number in numbers] == outside


@pytest.mark.parametrize("number", [*STOPPING, *HARMLESS])
async def test_before_there_is_a_loop_no_signal_kills(number: signal.Signals) -> None:
    """Also where the process is the first of a container, which the default action does not end."""
    script = (
        "import os, signal, time\n"
        "from ff_proxy.runtime.early_signals import leave_on_signals\n"
        "with leave_on_signals():\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    time.sleep(0.01)\n"
        "    raise SystemExit(7)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(10):
        _, said = await process.communicate()
    assert (process.returncode, said) == (0 if number in STOPPING else 7, b"")


def test_leaving_is_no_crash() -> None:
    """The handler ends the process as a clean exit does, and lasts as long as the context."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(SystemExit) as left, leave_on_signals():
        signal.raise_signal(signal.SIGTERM)
    assert left.value.code == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


class _Signalled:
    """Where Python 3.11 turns any exception into a RuntimeError, as it does in many imports."""

    def __set_name__(self, owner: type, name: str) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_within_an_import_takes_effect_after_it() -> None:
    """What a handler raises inside one may become another exception, or get lost."""
    imported: list[type] = []
    with pytest.raises(SystemExit) as left, leave_on_signals(), signals_deferred():
        imported.append(type("Imported", (), {"attribute": _Signalled()}))
    assert (left.value.code, len(imported)) == (0, 1)


class Dying:
    """Its end is announced to a weak reference's callback, whose exceptions Python ignores."""


def signalled_in_a_callback(number: signal.Signals) -> None:
    """A signal at a moment at which what its handler raises is lost."""
    dying = Dying()
    reference = weakref.ref(dying, lambda _: os.kill(os.getpid(), number))
    del dying
    assert reference() is None


@pytest.mark.parametrize("number", STOPPING)
async def test_a_signal_whose_exception_was_lost_is_heard_later(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was being loaded served for ever: imports remove their locks in such callbacks.

    Nobody is shown a trace of it; other exceptions that are lost are still reported.
    """
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: lost.append(ignored.exc_type))
    with leave_on_signals():
        signalled_in_a_callback(number)
        assert lost == []
        dying = Dying()
        other = weakref.ref(dying, lambda _: 1 // 0)
        del dying
        assert (other(), lost) == (None, [ZeroDivisionError])
        with leave_on_signals(), stop_on_signals() as stop:
            assert stop.requested.is_set()
            assert not stop.at_once.is_set()
        with forked_processes() as processes:
            assert processes.stop_requests() == 1
    with leave_on_signals(), stop_on_signals() as stop:
        assert not stop.requested.is_set()
