"""What a store that fails or hangs does to the usage on its way to Harness."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.errors import StoreUnavailable, UpstreamUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.store.memory.queues import MemoryUsageQueue
from ff_proxy.store.protocol import UsageLease
from ff_proxy.usage.forwarder import UsageForwarder
from tests.support.usage_forwarder import ENV, OTHER, Saas, Setting, usage

WORKS: Final = "works"
FAILS: Final = "fails"
HANGS: Final = "hangs"
OUTCOMES: Final = st.lists(st.sampled_from((WORKS, FAILS, HANGS)), max_size=4)


class TroubledQueue(MemoryUsageQueue):
    """Takes and settles ``OTHER``'s usage as planned, and afterwards as it should."""

    def __init__(self, takes: Sequence[str] = (), settlements: Sequence[str] = ()) -> None:
        super().__init__(1_000_000_000)
        self._takes = list(takes)
        self._settlements = list(settlements)
        self.failing_looks = 0
        self.back = asyncio.Event()

    async def pending(self) -> Mapping[EnvironmentId, int]:
        if self.failing_looks:
            self.failing_looks -= 1
            raise StoreUnavailable("away")
        return await super().pending()

    async def take(self, environment: EnvironmentId, limit: int) -> UsageLease | None:
        if environment == OTHER:
            await self._go_through(self._takes)
        return await super().take(environment, limit)

    async def settle(
        self, lease: UsageLease, counts: Sequence[UsageCount] = (), targets: Sequence[UsageTarget] = ()
    ) -> None:
        if lease.environment == OTHER:
            await self._go_through(self._settlements)
        await super().settle(lease, counts, targets)

    async def _go_through(self, planned: list[str]) -> None:
        outcome = planned.pop(0) if planned else WORKS
        if outcome == HANGS:
            await self.back.wait()
        if outcome != WORKS:
            raise StoreUnavailable("a node of the Cluster is away")


def before(queue: TroubledQueue, interval: float = 60.0) -> Setting:
    """A forwarder that sends from ``queue``."""
    setting = Setting(Saas())
    setting.queue = queue
    setting.forwarder = UsageForwarder(
        queue, setting.saas, interval, setting.clock, Random(1), setting.telemetry
    )
    return setting


@settings(max_examples=25)
@given(OUTCOMES, OUTCOMES)
async def test_an_environment_whose_store_fails_or_hangs_delays_no_other(
    takes: list[str], settlements: list[str]
) -> None:
    """Whatever is in trouble, and when; afterwards its own counts have arrived, each once."""
    queue = TroubledQueue(takes, settlements)
    setting = before(queue, interval=4.0)
    async with setting.running():
        for number in (1, 2, 3):
            await queue.merge([usage("a"), usage("a", environment=OTHER)], [])
            await setting.clock.advance(5)
            assert setting.saas.taken[ENV, "a"] == number
        queue.back.set()
        await setting.clock.advance(60)
        assert setting.saas.taken == {(ENV, "a"): 3, (OTHER, "a"): 3}
        assert await queue.pending() == {}


async def test_a_lease_is_settled_while_the_environment_waits_for_harness() -> None:
    """Harness may ask to wait for longer than the store keeps a lease, which would then be sent twice."""
    queue = TroubledQueue(settlements=[FAILS])
    bodies = 0

    def answer(_: EnvironmentId, __: bytes) -> UpstreamUnavailable | None:
        nonlocal bodies
        bodies += 1
        return None if bodies == 1 else UpstreamUnavailable("too many requests", retry_after=600)

    setting = before(queue)
    setting.saas.answer = answer
    async with setting.running():
        await queue.merge([usage(f"f{number}", environment=OTHER) for number in range(1000)], [])
        await setting.clock.advance(90)
        assert bodies == 2
        assert await queue.pending() == {OTHER: 500}


@given(st.lists(st.just(FAILS), max_size=4), st.lists(st.just(FAILS), max_size=4))
async def test_a_flush_uses_its_time_when_the_store_fails(takes: list[str], settlements: list[str]) -> None:
    """A store that is away for a moment at the end neither keeps counts back nor has them sent twice."""
    queue = TroubledQueue(takes, settlements)
    setting = before(queue)
    await queue.merge([usage("a", 4, environment=OTHER), usage("a", 2)], [])
    flushing = asyncio.create_task(setting.forwarder.flush(60))
    await setting.clock.advance(120)
    await flushing
    assert setting.saas.taken == {(ENV, "a"): 2, (OTHER, "a"): 4}
    assert await queue.pending() == {}


async def test_a_flush_settles_what_was_sent_also_if_the_queue_cannot_be_read() -> None:
    """The store that is back a moment later would return it, and it would be sent twice."""
    queue = TroubledQueue(settlements=[FAILS, FAILS])
    setting = before(queue)
    await queue.merge([usage("a", 4, environment=OTHER)], [])
    await setting.forwarder.flush(0.1)
    assert await queue.pending() == {OTHER: 1}
    queue.failing_looks = 2
    await setting.forwarder.flush(0.1)
    assert await queue.pending() == {}
    assert setting.saas.taken == {(OTHER, "a"): 4}


async def test_what_nobody_expects_of_one_environment_ends_no_flush() -> None:
    """It is reported; the others' usage goes out."""

    class Broken(Saas):
        async def send(self, environment: EnvironmentId, body: bytes) -> None:
            if environment == OTHER:
                raise IndexError("nobody expects that")
            await super().send(environment, body)

    setting = Setting(Broken())
    await setting.queue.merge([usage("a"), usage("a", environment=OTHER)], [])
    await setting.forwarder.flush(5)
    assert setting.saas.taken == {(ENV, "a"): 1}
    assert 'service="usage forwarder"' in setting.telemetry.exposition().decode()
