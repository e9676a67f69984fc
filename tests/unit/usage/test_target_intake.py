"""Targets reach the store's queue without anybody waiting for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import Registration
from ff_proxy.telemetry import null_telemetry
from ff_proxy.usage.target_intake import NullTargetIntake, TargetIntake
from tests.support.clock import FakeClock

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")


class Queue:
    """Takes registrations when it is open; has room for ``room`` of them."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.away = False
        self.open = asyncio.Event()
        self.open.set()
        self.added: list[Registration] = []

    async def add(self, registration: Registration) -> bool:
        await self.open.wait()
        if self.away:
            raise StoreUnavailable("away")
        if len(self.added) == self.room:
            return False
        self.added.append(registration)
        return True


class Setting:
    """An intake before a queue."""

    def __init__(self, *, room: int = 100, budget: int = 1_000_000) -> None:
        self.queue = Queue(room)
        self.clock = FakeClock()
        self.telemetry = null_telemetry()
        self.intake = TargetIntake(self.queue, self.clock, self.telemetry, budget=budget)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the service running."""
        task = asyncio.create_task(self.intake.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def dropped(self) -> bytes:
        """How many were, as the figures say it."""
        lines = self.telemetry.exposition().splitlines()
        return next((line.split()[-1] for line in lines if b'outcome="dropped"' in line), b"0.0")


async def test_targets_reach_the_queue() -> None:
    """In the order in which they came."""
    setting = Setting()
    async with setting.running():
        for name in "abc":
            setting.intake.register(ENV, Target(name))
        await setting.clock.settle()
    assert [one.target.identifier for one in setting.queue.added] == ["a", "b", "c"]


async def test_a_queue_that_is_away_loses_none() -> None:
    """They are handed over when it is back, each as it was described last."""
    setting = Setting()
    setting.queue.away = True
    async with setting.running():
        setting.intake.register(ENV, Target("a"))
        setting.intake.register(ENV, Target("b"))
        await setting.clock.advance(3)
        setting.intake.register(ENV, Target("a", "Anew"))
        setting.queue.away = False
        await setting.clock.advance(2)
    assert [one.target for one in setting.queue.added] == [Target("a", "Anew"), Target("b")]


async def test_a_target_described_anew_meanwhile_goes_twice() -> None:
    """What was under way when the newer description came does not take its place."""
    setting = Setting()
    setting.queue.open.clear()
    async with setting.running():
        setting.intake.register(ENV, Target("a"))
        await setting.clock.settle()
        setting.intake.register(ENV, Target("a", "Anew"))
        setting.queue.open.set()
        await setting.clock.settle()
    assert [one.target for one in setting.queue.added] == [Target("a"), Target("a", "Anew")]


async def test_what_finds_no_room_is_counted() -> None:
    """Whether here or in the queue."""
    here = Setting(budget=2 * 1000)
    for name in "abca":
        here.intake.register(ENV, Target(name))
    assert await here.intake.writer.flush()
    assert (len(here.queue.added), here.dropped()) == (2, b"1.0")
    there = Setting(room=1)
    for name in "abc":
        there.intake.register(ENV, Target(name))
    assert await there.intake.writer.flush()
    assert (len(there.queue.added), there.dropped()) == (1, b"2.0")


async def test_a_flush_tells_whether_the_store_took_everything() -> None:
    """And keeps what it did not."""
    setting = Setting()
    setting.queue.away = True
    setting.intake.register(ENV, Target("a"))
    assert not await setting.intake.writer.flush()
    setting.queue.away = False
    assert await setting.intake.writer.flush()
    assert len(setting.queue.added) == 1
    NullTargetIntake().register(ENV, Target("a"))
