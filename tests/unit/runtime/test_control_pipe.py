"""What is told through a pipe, and what its end means."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from ff_proxy.runtime.control_pipe import stop_on_control, tell


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
        tell(pipe[1], 6.5)
        async with asyncio.timeout(5):
            await stop.asked.wait()
        assert stop.seconds == 6.5
        assert not stop.at_once.is_set()
        tell(pipe[1], 0)
        async with asyncio.timeout(5):
            await stop.at_once.wait()
        assert stop.seconds == 6.5
    with stop_on_control(pipe[0]) as stop:
        tell(pipe[1], 1)
        tell(pipe[1], 0)
        async with asyncio.timeout(5):
            await stop.at_once.wait()


async def test_the_end_of_the_pipe_asks_with_all_the_time_there_is(pipe: tuple[int, int]) -> None:
    """The supervisor is gone; it is no second signal if one came before."""
    with stop_on_control(pipe[0]) as stop:
        os.close(pipe[1])
        async with asyncio.timeout(5):
            await stop.asked.wait()
        assert stop.seconds is None
        await asyncio.sleep(0)
        assert not stop.at_once.is_set()


def test_telling_somebody_who_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    """It may have died a moment ago."""
    os.close(pipe[0])
    tell(pipe[1], 1)
