"""Ways to wait: either of two, in spite of a cancellation, a place that is not held for ever."""

import asyncio

import pytest

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.aio.waits import finish, sleep_unless
from tests.support.clock import FakeClock


async def test_finish_hands_on_what_the_step_returns_or_raises() -> None:
    """Without a cancellation it is as if the step were awaited."""

    async def step(value: int) -> int:
        if value < 0:
            raise ValueError(value)
        return value

    assert await finish(step(7), 1) == 7
    with pytest.raises(ValueError, match="-1"):
        await finish(step(-1), 1)


async def test_a_cancelled_step_ends_first() -> None:
    """The cancellation goes on when the step is done."""
    go_on = asyncio.Event()
    done = asyncio.Event()

    async def step() -> None:
        await go_on.wait()
        done.set()

    task = asyncio.create_task(finish(step(), 10))
    await FakeClock.settle()
    task.cancel()
    await FakeClock.settle()
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_a_failure_after_the_cancellation_is_not_left_unseen() -> None:
    """The caller hears of the cancellation; nothing is logged by the event loop."""
    go_on = asyncio.Event()

    async def step() -> None:
        await go_on.wait()
        raise ValueError

    task = asyncio.create_task(finish(step(), 10))
    await FakeClock.settle()
    task.cancel()
    await FakeClock.settle()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_step_that_outlasts_the_grace_is_cancelled() -> None:
    """And has ended when the cancellation goes on."""
    ended = asyncio.Event()

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(finish(step(), 0.01))
    await FakeClock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_second_cancellation_does_not_wait_for_the_grace() -> None:
    """Whoever asks twice means it."""
    ended = asyncio.Event()

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(finish(step(), 1000))
    await FakeClock.settle()
    task.cancel()
    await FakeClock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await FakeClock.settle()
    assert ended.is_set()


async def test_sleep_unless_ends_with_the_time_or_the_event() -> None:
    """And leaves nothing behind."""
    clock, event = FakeClock(), asyncio.Event()
    task = asyncio.create_task(sleep_unless(event, clock, 5))
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.2)
    assert task.done()

    task = asyncio.create_task(sleep_unless(event, clock, 5))
    await clock.settle()
    event.set()
    await clock.settle()
    assert task.done()
    assert clock.sleeping == 0


async def test_whoever_hangs_gives_its_place_away() -> None:
    """After the patience; those who are done give theirs at once."""
    clock = FakeClock()
    limiter = PatientLimiter(1, clock)
    entered: list[str] = []

    async def work(name: str, until: asyncio.Event) -> None:
        async with limiter.place():
            entered.append(name)
            await until.wait()

    never, done = asyncio.Event(), asyncio.Event()
    done.set()
    tasks = [asyncio.create_task(work("hangs", never)), asyncio.create_task(work("quick", done))]
    await clock.settle()
    assert entered == ["hangs"]
    await clock.advance(2.1)
    assert entered == ["hangs", "quick"]
    tasks.append(asyncio.create_task(work("next", never)))
    await clock.settle()
    assert entered[-1] == "next"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
