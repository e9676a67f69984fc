"""Whether a snapshot may be served without asking, and catching up where not.

See spec/behaviour#read-your-writes.
"""

import asyncio

from ff_proxy.errors import StoreUnavailable
from ff_proxy.ipc import SharedGenerations
from ff_proxy.ipc.generation_freshness import GenerationFreshness
from ff_proxy.model.environment import Revision
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.freshness import RevisionFreshness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import PutItem
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag


class Member:
    """A member whose snapshots follow nothing by themselves: only a check makes them catch up."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore("life", self.clock)
        self.telemetry = null_telemetry()
        self.snapshots = SnapshotRegistry(self.store.configs, CompileOptions(), self.clock, self.telemetry)
        self.asked = 0
        self.answer = asyncio.Event()
        self.answer.set()

    async def revision(self, environment: EnvironmentId) -> Revision | None:
        self.asked += 1
        await self.answer.wait()
        return (await self.store.configs.environments()).get(environment)

    def served(self) -> bytes:
        """The flags as they are served."""
        snapshot = self.snapshots.get(ENVIRONMENT)
        assert snapshot is not None
        return snapshot.flags.content


async def test_a_check_finds_what_another_member_wrote() -> None:
    """An SDK that fetches right after an event does not get the state before it."""
    member = Member()
    freshness = RevisionFreshness(member.revision, member.snapshots, member.clock, member.telemetry)
    await member.store.configs.replace(config(flag()))
    await freshness.refresh(ENVIRONMENT)
    assert b'"state":"on"' in member.served()
    await member.store.configs.apply(ENVIRONMENT, PutItem(flag(on=False, version=2)))
    assert not freshness.fresh(ENVIRONMENT, bulk=False)
    await freshness.refresh(ENVIRONMENT)
    assert b'"state":"off"' in member.served()


async def test_concurrent_requests_share_a_check() -> None:
    """One read for any number of requests."""
    member = Member()
    freshness = RevisionFreshness(member.revision, member.snapshots, member.clock, member.telemetry)
    await member.store.configs.replace(config(flag()))
    await asyncio.gather(*(freshness.refresh(ENVIRONMENT) for _ in range(100)))
    assert member.asked == 1


async def test_a_request_during_a_check_gets_the_next_one() -> None:
    """The running check may have read the revision before the change of the event."""
    member = Member()
    asked = asyncio.Event()
    late = asyncio.Event()

    async def slow(environment: EnvironmentId) -> Revision | None:
        revision = await member.revision(environment)
        asked.set()
        await late.wait()
        return revision

    freshness = RevisionFreshness(slow, member.snapshots, member.clock, member.telemetry)
    await member.store.configs.replace(config(flag()))
    await member.snapshots.refresh(ENVIRONMENT)
    early = asyncio.create_task(freshness.refresh(ENVIRONMENT))
    await asked.wait()
    await member.store.configs.apply(ENVIRONMENT, PutItem(flag(on=False, version=2)))
    told = [asyncio.create_task(freshness.refresh(ENVIRONMENT)) for _ in range(3)]
    await asyncio.sleep(0)
    late.set()
    await asyncio.gather(early, *told)
    assert b'"state":"off"' in member.served()
    assert member.asked == 2


async def test_a_store_that_does_not_answer_causes_a_short_delay() -> None:
    """Then the current snapshot is served, which is counted."""
    member = Member()
    freshness = RevisionFreshness(member.revision, member.snapshots, member.clock, member.telemetry)
    await member.store.configs.replace(config(flag()))
    await freshness.refresh(ENVIRONMENT)
    member.answer.clear()
    async with asyncio.timeout(2):
        await freshness.refresh(ENVIRONMENT)
    assert b'"state":"on"' in member.served()

    async def broken(_: EnvironmentId) -> Revision | None:
        raise StoreUnavailable("down")

    await RevisionFreshness(broken, member.snapshots, member.clock, member.telemetry).refresh(ENVIRONMENT)
    assert b'"state":"on"' in member.served()
    late = f'ff_proxy_revision_checks_late_total{{envID="{ENVIRONMENT}"}} 2.0'
    assert late in member.telemetry.exposition().decode()


async def test_bulk_reads_check_for_a_while_after_a_change() -> None:
    """Polling SDKs without an event are served at once."""
    member = Member()
    freshness = RevisionFreshness(member.revision, member.snapshots, member.clock, member.telemetry)
    assert freshness.fresh(ENVIRONMENT, bulk=True)
    await member.store.configs.replace(config(flag()))
    await freshness.refresh(ENVIRONMENT)
    assert not freshness.fresh(ENVIRONMENT, bulk=True)
    await member.clock.advance(119)
    assert not freshness.fresh(ENVIRONMENT, bulk=True)
    await member.clock.advance(2)
    assert freshness.fresh(ENVIRONMENT, bulk=True)
    assert not freshness.fresh(ENVIRONMENT, bulk=False)


async def test_shared_memory_avoids_checks() -> None:
    """Nothing is read until the counter changes; then once."""
    member = Member()
    with SharedGenerations() as generations:
        freshness = GenerationFreshness(generations, member.snapshots)
        await member.store.configs.replace(config(flag()))
        generations.bump_environment(ENVIRONMENT)
        assert not freshness.fresh(ENVIRONMENT, bulk=True)
        await freshness.refresh(ENVIRONMENT)
        assert freshness.fresh(ENVIRONMENT, bulk=False)
        assert b'"state":"on"' in member.served()
        await member.store.configs.apply(ENVIRONMENT, PutItem(flag(on=False, version=2)))
        generations.bump_environment(ENVIRONMENT)
        assert not freshness.fresh(ENVIRONMENT, bulk=False)
        await freshness.refresh(ENVIRONMENT)
        assert b'"state":"off"' in member.served()
