"""From a posted body into the store's queue."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from io import StringIO
from typing import Any, Self

import pytest

from ff_proxy.errors import RequestError, StoreRefused, StoreUnavailable
from ff_proxy.http.body import WholeBody
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.store.memory.queues import MemoryUsageQueue
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.usage.intake import NullIntake, UsageIntake
from tests.support.clock import FakeClock

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")
OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")

ROOM = 1700
"""Bytes that hold one entry of ``body``, and not two."""


def body(*flags: str, count: int = 1, padding: int = 0) -> bytes:
    """A post with ``count`` evaluations of each flag; ``padding`` makes each entry that much larger."""
    counts = [
        {
            "count": count,
            "metricsType": "FFMETRICS",
            "attributes": [
                {"key": "featureIdentifier", "value": flag},
                {"key": "SDK_TYPE", "value": "server"},
            ],
            "ignored": "x" * padding,
        }
        for flag in flags
    ]
    return json.dumps({"metricsData": counts, "targetData": [{"identifier": "x"}]}).encode()


class FailingQueue(MemoryUsageQueue):
    """A queue that can be out of reach, and that can be slow."""

    def __init__(self) -> None:
        super().__init__(1_000_000_000)
        self.fails = False
        self.merges = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        self.merges += 1
        await self.gate.wait()
        if self.fails:
            raise StoreUnavailable("no answer")
        return await super().merge(counts, targets, name=name)

    async def counts(self) -> dict[str, int]:
        """What waits in the queue, by flag."""
        lease = await self.take(ENV, 1_000_000)
        if lease is None:
            return {}
        await self.settle(lease, lease.counts, lease.targets)
        return {entry.key.attributes[1][1].strip('"'): entry.count for entry in lease.counts}


class Bench:
    """An intake that runs, and what it is connected to."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.queue = FailingQueue()
        self.telemetry: Telemetry = null_telemetry()
        self.intake = UsageIntake(self.queue, self.clock, self.telemetry, **options)

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.intake.run())
        await self.clock.settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    async def post(self, body: bytes) -> None:
        """Hand in a body that has arrived whole."""
        await self.intake.receive(ENV, WholeBody(body).pieces())

    def dropped(self, reason: str) -> float:
        """How many entries were dropped for that reason."""
        return float(self.telemetry.metrics.usage_dropped.labels(ENV, reason)._value.get())


async def test_posts_are_merged_and_in_the_store_within_the_interval() -> None:
    """Two posts make one write; the queue is left alone before half a second is over."""
    async with Bench() as bench:
        await bench.post(body("a", "b"))
        await bench.clock.advance(0.4)
        await bench.post(body("a", count=2))
        assert bench.queue.merges == 0

        await bench.clock.advance(0.2)

        assert await bench.queue.counts() == {"a": 3, "b": 1}
        assert bench.queue.merges == 1


async def test_an_idle_intake_does_nothing() -> None:
    """No timer runs while there is nothing to move."""
    async with Bench() as bench:
        await bench.clock.advance(100)
        assert bench.clock.sleeping == 0
        assert bench.queue.merges == 0


async def test_much_is_moved_at_once() -> None:
    """A tenth of the capacity does not wait for the interval."""
    async with Bench(budget=15 * ROOM) as bench:
        await bench.post(body("a", "b", "c"))
        await bench.clock.settle()
        assert await bench.queue.counts() == {"a": 1, "b": 1, "c": 1}


async def test_an_unreadable_body_is_refused() -> None:
    """The one error that a caller hears of."""
    async with Bench() as bench:
        with pytest.raises(RequestError):
            await bench.post(b"nonsense")


async def test_bad_entries_are_counted() -> None:
    """The rest of the post is taken."""
    async with Bench() as bench:
        await bench.post(b'{"metricsData":[null,{}],"targetData":[7]}')
        await bench.post(body("a"))
        await bench.clock.advance(1)
        assert bench.dropped("bad") == 3
        assert await bench.queue.counts() == {"a": 1}


async def test_what_finds_no_room_is_counted() -> None:
    """In the process's own buffer, and in the queue."""
    bench = Bench(budget=4600)
    await bench.post(body("a", "b", "c", "d"))
    assert bench.dropped("no room") == 2

    full = MemoryUsageQueue(ROOM)
    telemetry = null_telemetry()
    intake = UsageIntake(full, FakeClock(), telemetry)
    await intake.receive(ENV, WholeBody(body("a", "b")).pieces())
    await intake.flush()
    assert telemetry.metrics.usage_dropped.labels(ENV, "no room")._value.get() == 2


async def test_a_huge_post_is_read_between_other_work() -> None:
    """Others run in between; nothing of it counts before its end was read."""
    flags = [f"f{n}" for n in range(900)]
    async with Bench(budget=10_000_000) as bench:
        reading = asyncio.create_task(bench.post(body(*flags, padding=200)))
        turns = 0
        while not reading.done():
            assert await bench.queue.counts() == {}
            await asyncio.sleep(0)
            turns += 1
        assert turns > 30
        await bench.clock.advance(1)
        assert await bench.queue.counts() == dict.fromkeys(flags, 1)


async def test_a_post_that_ends_early_counts_not_at_all() -> None:
    """Its SDK sends it again; that it could not be read is counted."""

    async def broken() -> AsyncIterator[bytes]:
        yield body("a", "b")[:-5]
        raise RequestError(400, "the request body ended early")

    async with Bench() as bench:
        with pytest.raises(RequestError):
            await bench.intake.receive(ENV, broken())
        await bench.post(body("c"))
        await bench.clock.advance(1)
        assert await bench.queue.counts() == {"c": 1}
        assert bench.dropped("unreadable") == 1


async def test_a_post_that_is_more_than_all_room_passes_through() -> None:
    """Where the store takes what comes, large posts wait for it instead of losing entries."""
    flags = [f"f{n}" for n in range(3000)]
    async with Bench(budget=500_000) as bench:
        await bench.post(body(*flags))
        await bench.clock.advance(1)
        assert sum((await bench.queue.counts()).values()) == 3000
        assert bench.dropped("no room") == 0


async def test_a_large_post_does_not_wait_for_a_store_that_is_away() -> None:
    """What finds no room is dropped and counted, after one moment of patience."""
    flags = [f"f{n}" for n in range(3000)]
    async with Bench(budget=500_000) as bench:
        bench.queue.fails = True
        posting = asyncio.create_task(bench.post(body(*flags)))
        await bench.clock.advance(0)
        assert not posting.done()
        await bench.clock.advance(3)
        await bench.clock.settle()
        assert posting.done()
        assert 1000 < bench.dropped("no room") < 3000


async def test_nothing_is_lost_while_the_store_is_away() -> None:
    """Counts stay in memory and go on merging; the next attempt takes them all."""
    async with Bench() as bench:
        bench.queue.fails = True
        await bench.post(body("a"))
        await bench.clock.advance(1)
        assert bench.queue.merges == 1
        await bench.post(body("a", "b"))
        bench.queue.fails = False
        await bench.clock.advance(2)
        assert await bench.queue.counts() == {"a": 2, "b": 1}


async def test_a_store_that_is_away_is_not_asked_in_a_hurry() -> None:
    """However much waits, there are at most two attempts in a second."""
    async with Bench(budget=15 * ROOM) as bench:
        bench.queue.fails = True
        for _ in range(20):
            await bench.post(body("a", "b", "c"))
            await bench.clock.advance(0.1)
        assert bench.queue.merges <= 5


async def test_a_cancelled_flush_ends_first() -> None:
    """Stopping while the store writes neither loses nor doubles a count."""
    async with Bench() as bench:
        await bench.post(body("a"))
        bench.queue.gate.clear()
        await bench.clock.advance(1)
        bench.task.cancel()
        await bench.clock.settle()
        bench.queue.gate.set()
        await asyncio.wait([bench.task])
        await bench.intake.flush()
        assert await bench.queue.counts() == {"a": 1}


async def test_the_last_counts_are_moved_by_a_flush() -> None:
    """At shutdown, after the intake was stopped."""
    async with Bench() as bench:
        await bench.post(body("a"))
        bench.task.cancel()
        await asyncio.wait([bench.task])
        assert await bench.intake.flush()
        assert await bench.queue.counts() == {"a": 1}


async def test_posts_are_counted_by_sdk() -> None:
    """Once a post, small or huge, and also where nothing is kept."""
    telemetry = null_telemetry()
    intake = UsageIntake(MemoryUsageQueue(), FakeClock(), telemetry)
    for one in (intake, NullIntake(telemetry)):
        await one.receive(ENV, WholeBody(body("a")).pieces())
        await one.receive(ENV, WholeBody(body("a", "b", padding=40_000)).pieces())
    assert telemetry.metrics.sdk_usage.labels(ENV, "server", "", "")._value.get() == 4


async def test_the_null_intake_refuses_what_cannot_be_read() -> None:
    """An SDK gets the same answer whether its usage is forwarded or not."""
    with pytest.raises(RequestError):
        await NullIntake(null_telemetry()).receive(ENV, WholeBody(b"[]").pieces())


async def test_what_the_store_does_not_take_in_the_end_is_counted() -> None:
    """Whether it hangs or refuses, and whether it was on its way or not: the process ends in time."""
    for hangs in (True, False):
        async with Bench() as bench:
            bench.queue.fails = True
            if hangs:
                bench.queue.gate.clear()
            await bench.post(body("a", "b"))
            await bench.clock.advance(0.6)
            await bench.post(body("c"))
            await bench.intake.last_flush(0.01)
            assert bench.dropped("not stored at the end") == 5
            bench.queue.gate.set()


class PickyQueue(MemoryUsageQueue):
    """A queue that cannot carry one flag's counts."""

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        if any("odd" in text for count in counts for _, text in count.key.attributes):
            raise StoreRefused("not to be carried")
        return await super().merge(counts, targets, name=name)


async def test_an_entry_that_cannot_be_carried_is_dropped_alone() -> None:
    """Its neighbours of the same batch reach the queue, and it is counted."""
    queue, telemetry = PickyQueue(), null_telemetry()
    intake = UsageIntake(queue, FakeClock(), telemetry)
    await intake.receive(ENV, WholeBody(body("a", "b", "odd", "c", "d")).pieces())
    assert await intake.flush()
    lease = await queue.take(ENV, 100)
    assert lease is not None
    assert len(lease.counts) == 4
    assert len(lease.targets) == 1
    assert telemetry.metrics.usage_dropped.labels(ENV, "bad")._value.get() == 1
    assert await intake.flush()


async def test_counts_made_here_are_pulled_before_each_flush() -> None:
    """And whoever makes them learns whether they are wanted."""
    made = [UsageCount(UsageKey(ENV, "FFMETRICS", (("flag", '"a"'), ("variation", '"on"'))), 3, 1)]
    async with Bench() as bench:
        notify = bench.intake.pull(lambda: [(ENV, [made.pop()] if made else [])])
        assert notify is not None
        notify()
        await bench.clock.advance(1)
        assert await bench.queue.counts() == {"on": 3}
    async with Bench(local_counts=False) as bench:
        assert bench.intake.pull(lambda: ()) is None


class HalfQueue(MemoryUsageQueue):
    """A store of which the part is away, or hangs, that one environment's usage belongs to."""

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        if any(entry.key.environment == OTHER for entry in counts):
            await asyncio.sleep(0)
            raise StoreUnavailable("a node is away")
        return await super().merge(counts, targets, name=name)


async def test_usage_of_an_environment_that_cannot_be_stored_delays_no_other() -> None:
    """Whichever came first; what cannot be stored stays here."""
    for order in ((OTHER, ENV), (ENV, OTHER)):
        queue = HalfQueue(1_000_000)
        intake = UsageIntake(queue, FakeClock(), null_telemetry())
        for environment in order:
            await intake.receive(environment, WholeBody(body("a", "b")).pieces())
        assert not await intake.flush()
        await intake.receive(ENV, WholeBody(body("c")).pieces())
        assert not await intake.flush()
        lease = await queue.take(ENV, 100)
        assert lease is not None
        assert len(lease.counts) == 3
        assert await queue.pending() == {ENV: len(lease.counts) + len(lease.targets)}


async def test_a_store_that_does_not_accept_usage_is_a_reason_until_it_does() -> None:
    """One line when it begins and one when it ends; what has another reason needs none."""
    lines = StringIO()
    telemetry = Telemetry(make_logger("INFO", lines), FakeClock())
    queue = FailingQueue()
    intake = UsageIntake(queue, FakeClock(), telemetry)
    for _ in range(2):
        queue.fails = True
        await intake.receive(ENV, WholeBody(body("a")).pieces())
        for _ in range(3):
            assert not await intake.flush()
        assert "no answer" in intake.writer.merge_into(Readiness(loaded=1)).degraded[0]
        away = Readiness(loaded=1, degraded=("Redis is away",))
        assert intake.writer.merge_into(away) is away
        queue.fails = False
        assert await intake.flush()
        assert intake.writer.merge_into(Readiness(loaded=1)).state == "ready"
    assert lines.getvalue().count("does not accept usage") == 2
    assert lines.getvalue().count("accepts usage again") == 2
