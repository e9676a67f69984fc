"""The writer's own promises: what nobody expects of one environment, and a restart after it."""

import asyncio

import pytest

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.telemetry import null_telemetry
from ff_proxy.usage.store_writer import StoreWriter
from tests.support.clock import FakeClock
from tests.support.usage_forwarder import ENV, OTHER


class Bench:
    """A writer whose writes of ``OTHER`` raise what nobody expects while it is ``broken``."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.waiting = {ENV, OTHER}
        self.broken = True
        self.gate = asyncio.Event()
        self.writer = StoreWriter("all", lambda: self.waiting, self._write, self.clock, null_telemetry())

    async def _write(self, environment: EnvironmentId) -> None:
        if environment == OTHER and self.broken:
            raise IndexError("nobody expects that")
        await self.gate.wait()
        self.waiting.discard(environment)

    async def all_is_written_again(self) -> None:
        """Mended and started again, it leaves nothing waiting."""
        self.broken = False
        running = asyncio.create_task(self.writer.run())
        await self.clock.settle()
        assert self.waiting == set()
        running.cancel()
        await asyncio.wait([running])


async def test_a_restart_writes_what_waits_although_nothing_arrives() -> None:
    """A quiet environment's counts must not be in memory only until an SDK posts again."""
    bench = Bench()
    bench.gate.set()
    bench.writer.arrived.set()
    with pytest.raises(ExceptionGroup):
        await bench.writer.run()
    assert OTHER in bench.waiting
    await bench.all_is_written_again()


async def test_a_write_that_the_end_of_a_run_kept_from_beginning_is_made_by_the_next() -> None:
    """Whichever turn of the event loop it arrives in, while another environment's failure ends the run."""
    for turns in range(8):
        bench = Bench()
        bench.gate.set()
        bench.waiting = {OTHER}
        bench.writer.arrived.set()
        running = asyncio.create_task(bench.writer.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        bench.waiting.add(ENV)
        bench.writer.arrived.set()
        with pytest.raises(ExceptionGroup):
            await running
        await bench.all_is_written_again()


async def test_a_flush_waits_for_all_environments_although_one_breaks() -> None:
    """Nothing is left running when the process closes the store."""
    bench = Bench()
    flushing = asyncio.create_task(bench.writer.flush())
    await bench.clock.settle()
    assert not flushing.done()
    bench.gate.set()
    with pytest.raises(IndexError):
        await flushing
    assert bench.waiting == {OTHER}
