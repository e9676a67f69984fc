"""What is told through a pipe, and what its end means."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from ff_proxy.runtime.control_pipe import send_request, send_stop, stop_on_control
from ff_proxy.runtime.signals import ProcessRequest


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end."""
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            continue  # a test has closed it


async def test_a_line_says_how_long_and_a_second_one_at_once(pipe: tuple[int, int]) -> None:
    """Also if both are read together."""
    with stop_on_control(pipe[0]) as stop:
        send_stop(pipe[1], 6.5)
        async with asyncio.timeout(5):
            await stop.requested.wait()
        assert stop.seconds == 6.5
        assert not stop.at_once.is_set()
        send_stop(pipe[1], 0)
        async with asyncio.timeout(5):
            await stop.at_once.wait()
        assert stop.seconds == 6.5
    with stop_on_control(pipe[0]) as stop:
        send_stop(pipe[1], 1)
        send_stop(pipe[1], 0)
        async with asyncio.timeout(5):
            await stop.at_once.wait()


async def test_the_end_of_the_pipe_asks_with_all_the_time_there_is(pipe: tuple[int, int]) -> None:
    """The supervisor is gone; it is no second signal if one came before."""
    with stop_on_control(pipe[0]) as stop:
        os.close(pipe[1])
        async with asyncio.timeout(5):
            await stop.requested.wait()
        assert stop.seconds is None
        await asyncio.sleep(0)
        assert not stop.at_once.is_set()


def test_telling_somebody_who_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    """It may have died a moment ago."""
    os.close(pipe[0])
    send_stop(pipe[1], 1)


@pytest.mark.parametrize("wanted", list(ProcessRequest))
async def test_requests_are_passed_on_beside_a_shutdown(
    pipe: tuple[int, int], wanted: ProcessRequest
) -> None:
    """In whatever order they are read; neither is taken for the other."""
    with stop_on_control(pipe[0]) as stop:
        send_request(pipe[1], wanted)
        async with asyncio.timeout(5):
            assert await stop.requests.get() is wanted
        assert not stop.requested.is_set()
        send_stop(pipe[1], 3)
        send_request(pipe[1], wanted)
        async with asyncio.timeout(5):
            await stop.requested.wait()
            assert await stop.requests.get() is wanted
        assert stop.seconds == 3
        assert not stop.at_once.is_set()


def test_passing_on_to_somebody_who_is_gone_or_busy_is_no_error(pipe: tuple[int, int]) -> None:
    """However often somebody signals."""
    os.set_blocking(pipe[1], False)
    for _ in range(20_000):
        send_request(pipe[1], ProcessRequest.RELOAD)
    os.close(pipe[0])
    send_request(pipe[1], ProcessRequest.RELOAD)
