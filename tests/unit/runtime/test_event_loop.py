"""The loop of production, and what a signal does before there is anything to go down in phases."""

import asyncio
import os
import signal

import pytest
import uvloop

from ff_proxy.errors import ExitCode, StartupError
from ff_proxy.runtime.event_loop import run, run_until_stopped
from ff_proxy.runtime.signals import Stop


def test_it_runs_on_uvloop() -> None:
    """The result of the main coroutine comes back."""

    async def which() -> type[asyncio.AbstractEventLoop]:
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop())

    assert run(which()) is uvloop.Loop


def test_whoever_ends_by_itself_says_the_exit_code() -> None:
    """Nothing is made of it, and errors come through."""

    async def ends(_: Stop) -> ExitCode:
        await asyncio.sleep(0)
        return ExitCode.CANNOT_START

    async def fails(_: Stop) -> ExitCode:
        await asyncio.sleep(0)
        raise StartupError("no")

    assert run_until_stopped(ends) is ExitCode.CANNOT_START
    with pytest.raises(StartupError):
        run_until_stopped(fails)


def test_a_start_that_hangs_can_be_ended() -> None:
    """A signal cancels what nobody has taken over; cleaning up is waited for."""
    cleaned = []

    async def hangs(_: Stop) -> ExitCode:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)
        return ExitCode.CRASH

    assert run_until_stopped(hangs) is ExitCode.OK
    assert cleaned == [True]
    assert run_until_stopped(hangs, unfinished=ExitCode.CRASH) is ExitCode.CRASH


def test_cleaning_up_is_not_waited_for_for_ever() -> None:
    """A second signal ends it, whatever still hangs."""
    released = []

    async def hangs(_: Stop) -> ExitCode:
        loop = asyncio.get_running_loop()
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await loop.create_future()
        finally:
            loop.call_soon(os.kill, os.getpid(), signal.SIGINT)
            try:
                await asyncio.sleep(20)
            finally:
                released.append(True)
        return ExitCode.CRASH

    assert run_until_stopped(hangs) is ExitCode.OK
    assert released == [True]


def test_whoever_goes_down_in_phases_is_left_to_it() -> None:
    """Once taken over, a signal is only told."""

    async def serves(stop: Stop) -> ExitCode:
        stop.taken_over = True
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.requested.wait()
        await asyncio.sleep(0.01)
        return ExitCode.OK

    assert run_until_stopped(serves, unfinished=ExitCode.CRASH) is ExitCode.OK
