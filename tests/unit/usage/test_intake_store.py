"""A store that fails, hangs or loses its answers for one environment, and what waits for it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.errors import StoreRefused, StoreUnavailable
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.store.memory.queues import MemoryUsageQueue
from ff_proxy.store.protocol import Registration
from ff_proxy.telemetry import null_telemetry
from ff_proxy.usage.intake import UsageIntake
from ff_proxy.usage.target_intake import TargetIntake
from ff_proxy.wire.usage import SdkLabels, UsageReport
from tests.support.clock import FakeClock
from tests.support.usage_forwarder import ENV, OTHER, usage

WORKS: Final = "works"
FAILS: Final = "fails"
UNHEARD: Final = "unheard"
HANGS: Final = "hangs"
REFUSES: Final = "refuses"
OUTCOMES: Final = (WORKS, FAILS, UNHEARD, HANGS)


class SharedQueue(MemoryUsageQueue):
    """Knows merges by their names; goes through ``planned`` for ``OTHER``, and then works.

    It never carries the flag ``odd``.
    """

    def __init__(self, planned: Sequence[str]) -> None:
        super().__init__(1_000_000_000)
        self._planned = list(planned)
        self._names: set[str] = set()
        self.back = asyncio.Event()

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        concerned = any(entry.key.environment == OTHER for entry in counts)
        outcome = self._planned.pop(0) if concerned and self._planned else WORKS
        if outcome == HANGS:
            await self.back.wait()
        if any("odd" in entry.key.attributes[0][1] for entry in counts):
            raise StoreRefused("something in it cannot be carried")
        if outcome != FAILS and name not in self._names:
            self._names.add(name)
            await super().merge(counts, targets, name=name)
        if outcome in {FAILS, UNHEARD}:
            raise StoreUnavailable("a node of the Cluster is away")
        return 0

    async def stored(self) -> Counter[str]:
        """How often each flag was counted, with the environment in front."""
        found: Counter[str] = Counter()
        for environment in (ENV, OTHER):
            while (lease := await self.take(environment, 1000)) is not None:
                await self.settle(lease)
                for entry in lease.counts:
                    found[f"{environment}{entry.key.attributes[0][1]}"] += entry.count
        return found


@settings(max_examples=25)
@given(st.lists(st.sampled_from(OUTCOMES), max_size=6), st.booleans())
async def test_usage_of_one_environment_waits_for_no_other(planned: list[str], odd: bool) -> None:
    """It is in the store within its time; the other's is there once when its trouble is over."""
    queue, clock = SharedQueue(planned), FakeClock()
    intake = UsageIntake(queue, clock, null_telemetry())
    running = asyncio.create_task(intake.run())
    posted: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    for number in range(4):
        for environment in (OTHER, ENV):
            counts = tuple(usage(f"f{one}", 1 + one, environment=environment) for one in range(number, 5))
            posted.update({f"{environment}{one.key.attributes[0][1]}": one.count for one in counts})
            if odd and environment == OTHER:
                counts = (*counts, usage("odd", environment=OTHER))
            intake._merge(environment, UsageReport(counts, (), SdkLabels(), 0))
        await clock.advance(1)
        stored += await queue.stored()
        own = Counter({name: times for name, times in posted.items() if name.startswith(ENV)})
        assert own <= stored
    queue.back.set()
    await clock.advance(20)
    assert stored + await queue.stored() == posted
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_the_metric_counts_what_a_failed_write_keeps() -> None:
    """Each entry, whether the store is asked for it at this moment or not."""
    queue, telemetry = SharedQueue([FAILS]), null_telemetry()
    intake = UsageIntake(queue, FakeClock(), telemetry)
    counts = tuple(usage(f"f{number}", environment=OTHER) for number in range(1500))
    intake._merge(OTHER, UsageReport(counts, (), SdkLabels(), 0))
    assert not await intake.flush()
    intake._merge(OTHER, UsageReport((usage("f0", environment=OTHER),), (), SdkLabels(), 0))
    telemetry.sampler.poll()
    assert b'ff_proxy_queue_entries{queue="usage"} 1501.0' in telemetry.exposition()
    assert await intake.flush()
    telemetry.sampler.poll()
    assert b'ff_proxy_queue_entries{queue="usage"} 0.0' in telemetry.exposition()


async def test_what_is_lost_at_the_end_counts_without_the_stored_part_of_a_batch() -> None:
    """A batch was refused, and the store failed between its halves."""
    queue, telemetry = SharedQueue([WORKS, WORKS, WORKS, FAILS]), null_telemetry()
    intake = UsageIntake(queue, FakeClock(), telemetry)
    counts = tuple(usage(name, environment=OTHER) for name in ("a", "b", "c", "odd"))
    intake._merge(OTHER, UsageReport(counts, (), SdkLabels(), 0))
    await intake.last_flush(1)
    assert sum((await queue.stored()).values()) == 2
    assert telemetry.metrics.usage_dropped.labels(OTHER, "not stored at the end")._value.get() == 2


async def test_a_large_post_gets_its_room_while_another_environment_cannot_be_stored() -> None:
    """It waits for its own usage to be stored, and for nothing else."""
    queue, clock, telemetry = SharedQueue([HANGS]), FakeClock(), null_telemetry()
    intake = UsageIntake(queue, clock, telemetry, budget=500_000)
    running = asyncio.create_task(intake.run())
    intake._merge(OTHER, UsageReport((usage("a", environment=OTHER),), (), SdkLabels(), 0))
    await clock.advance(1)
    for start in range(0, 3000, 100):
        counts = tuple(usage(f"f{number}") for number in range(start, start + 100))
        intake._merge(ENV, UsageReport(counts, (), SdkLabels(), 0))
        await clock.settle()
    await clock.advance(1)
    assert sum((await queue.stored()).values()) == 3000
    assert telemetry.metrics.usage_dropped.labels(ENV, "no room")._value.get() == 0
    running.cancel()
    queue.back.set()
    await asyncio.gather(running, return_exceptions=True)


class RegistrationQueue:
    """Goes through ``planned`` for ``OTHER``, and then works; knows how many came together."""

    def __init__(self, planned: Sequence[str]) -> None:
        self._planned = list(planned)
        self._together: Counter[str] = Counter()
        self.most_together = 0
        self.back = asyncio.Event()
        self.added: set[str] = set()

    async def add(self, registration: Registration) -> bool:
        environment = registration.environment
        self._together[environment] += 1
        self.most_together = max(self.most_together, self._together[environment])
        try:
            await asyncio.sleep(0)
            outcome = self._planned.pop(0) if environment == OTHER and self._planned else WORKS
            if outcome == HANGS:
                await self.back.wait()
            if outcome == REFUSES:
                raise StoreRefused("it cannot be carried")
            if outcome != FAILS:
                self.added.add(f"{environment} {registration.target.identifier}")
            if outcome in {FAILS, UNHEARD}:
                raise StoreUnavailable("a node of the Cluster is away")
        finally:
            self._together[environment] -= 1
        return True


@settings(max_examples=25)
@given(st.lists(st.sampled_from((*OUTCOMES, REFUSES)), max_size=6))
async def test_targets_of_one_environment_wait_for_no_other(planned: list[str]) -> None:
    """They are queued at once; the other's are queued or counted as dropped when its trouble is over."""
    queue, clock, telemetry = RegistrationQueue(planned), FakeClock(), null_telemetry()
    intake = TargetIntake(queue, clock, telemetry)
    running = asyncio.create_task(intake.run())
    for number in range(10):
        for environment in (OTHER, ENV):
            intake.register(environment, Target(f"t{number}"))
        if number % 3 == 0:
            await clock.settle()
    await clock.settle()
    assert {name for name in queue.added if name.startswith(ENV)} == {f"{ENV} t{n}" for n in range(10)}
    queue.back.set()
    await clock.advance(10)
    refused = telemetry.metrics.registrations.labels(OTHER, "dropped")._value.get()
    assert len(queue.added) == 20 - refused
    assert refused == planned.count(REFUSES)
    assert not intake.writer._waiting()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("targets", [1, 8, 9, 300])
async def test_targets_of_one_environment_are_queued_together(targets: int) -> None:
    """Stores batch them; few at a time leave the store's connections to SDKs that wait."""
    queue = RegistrationQueue([])
    intake = TargetIntake(queue, FakeClock(), null_telemetry())
    for number in range(targets):
        intake.register(ENV, Target(f"t{number}"))
    assert await intake.writer.flush()
    assert queue.most_together == min(targets, 8)
    assert len(queue.added) == targets
