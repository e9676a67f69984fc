"""Waiting for either of two things."""

import asyncio

from ff_proxy.store.pause import sleep_unless
from tests.support.clock import FakeClock


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
