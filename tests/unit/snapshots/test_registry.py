"""The registry follows the store, and announces after it has swapped."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import Action, Change, Domain, EnvironmentConfig, RecentChange, Revision
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.registry import Announcement, SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import DropItem, Notice, PutItem, SetKeys
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag


class Registry:
    """A running registry over a memory store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore("life", self.clock)
        self.snapshots = SnapshotRegistry(self.store.configs, CompileOptions(), self.clock, null_telemetry())
        self.heard: list[Announcement] = []
        self.snapshots.listen(self.heard.append)


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    """Running until the test ends."""
    made = Registry()
    running = asyncio.create_task(made.snapshots.run())
    await made.snapshots.ready.wait()
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_written_environment_is_served(registry: Registry) -> None:
    """By id and by key, and told to listeners as new."""
    await registry.store.configs.replace(config(flag()))
    await FakeClock.settle()
    snapshot = registry.snapshots.get(ENVIRONMENT)
    assert snapshot is not None
    assert registry.snapshots.environment_of(hash_key(KEY)) == ENVIRONMENT
    assert registry.heard == [Announcement(ENVIRONMENT, snapshot, None, (), frozenset())]


async def test_changes_are_announced_after_the_swap(registry: Registry) -> None:
    """A listener that reads at once gets the announced data."""
    await registry.store.configs.replace(config(flag()))
    await FakeClock.settle()
    seen: list[object] = []
    registry.snapshots.listen(lambda _: seen.append(registry.snapshots.get(ENVIRONMENT)))
    await registry.store.configs.apply(ENVIRONMENT, PutItem(flag(on=False, version=2)))
    await FakeClock.settle()
    assert registry.heard[-1].changes == (Change(Action.PATCH, Domain.FLAG, "checkout", 2),)
    assert seen == [registry.heard[-1].snapshot]


async def test_environments_are_read_concurrently() -> None:
    """An environment that cannot be read does not affect the others."""
    names = [EnvironmentId(f"00000000-0000-4000-8000-{number:012d}") for number in range(20)]
    store = MemoryStore("life", FakeClock())
    for name in names:
        await store.configs.replace(config(environment=name))
    together = asyncio.Barrier(len(names))

    class Slow(type(store.configs)):  # type: ignore[misc]  # what it is made of is its business
        async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
            await together.wait()
            if environment == names[3]:
                raise StoreUnavailable("not this one")
            found: EnvironmentConfig | None = await super().environment(environment)
            return found

    store.configs.__class__ = Slow
    snapshots = SnapshotRegistry(store.configs, CompileOptions(), FakeClock(), null_telemetry())
    async with asyncio.timeout(5):
        await snapshots.resync()
    assert set(snapshots.all()) == {*names} - {names[3]}
    [reason] = snapshots.merge_into(Readiness(loaded=19)).degraded
    assert names[3] in reason
    assert "not this one" in reason


async def test_a_revoked_key_is_removed_and_announced(registry: Registry) -> None:
    """Listeners close its streams."""
    await registry.store.configs.replace(config(flag(), keys=("old", "kept")))
    await FakeClock.settle()
    await registry.store.configs.apply(ENVIRONMENT, SetKeys(frozenset({hash_key("kept"), hash_key("new")})))
    await FakeClock.settle()
    assert registry.heard[-1].revoked == {hash_key("old")}
    assert registry.snapshots.environment_of(hash_key("old")) is None
    assert registry.snapshots.environment_of(hash_key("new")) == ENVIRONMENT


async def test_a_removed_environment_is_dropped(registry: Registry) -> None:
    """With its keys."""
    await registry.store.configs.replace(config(flag()))
    await FakeClock.settle()
    assert not registry.snapshots.removed(ENVIRONMENT)
    await registry.store.configs.remove(ENVIRONMENT)
    await FakeClock.settle()
    assert registry.snapshots.get(ENVIRONMENT) is None
    assert registry.snapshots.environment_of(hash_key(KEY)) is None
    assert registry.heard[-1].snapshot is None
    assert registry.heard[-1].revoked == {hash_key(KEY)}
    assert registry.snapshots.removed(ENVIRONMENT)
    await registry.store.configs.replace(config(flag()))
    await FakeClock.settle()
    assert not registry.snapshots.removed(ENVIRONMENT)


async def test_a_burst_ends_in_the_last_state(registry: Registry) -> None:
    """Conflation may skip states, never the last."""
    await registry.store.configs.replace(config(flag()))
    for version in range(2, 50):
        await registry.store.configs.apply(ENVIRONMENT, PutItem(flag(on=bool(version % 2), version=version)))
    await registry.store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "checkout"))
    for _ in range(10):
        await FakeClock.settle()
    snapshot = registry.snapshots.get(ENVIRONMENT)
    assert snapshot is not None
    assert snapshot.flags.content == b"[]"


class LossyStore:
    """A store whose notices are lost, and which can be down."""

    def __init__(self) -> None:
        self.held: dict[EnvironmentId, EnvironmentConfig] = {}
        self.down = False
        self.past: list[RecentChange] = []

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        if self.down:
            raise StoreUnavailable("down")
        return {name: entry.revision for name, entry in self.held.items()}

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        if self.down:
            raise StoreUnavailable("down")
        return self.held.get(environment)

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        del environment
        return [entry for entry in self.past if entry.at > since]

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        return _silence()


@asynccontextmanager
async def _silence() -> AsyncIterator[AsyncIterator[Notice]]:
    async def never() -> AsyncIterator[Notice]:
        await asyncio.Event().wait()
        yield Notice(ENVIRONMENT, None)

    yield never()


def _at(revision: int, *items: object) -> EnvironmentConfig:
    made = config(*items)  # type: ignore[arg-type]  # items are Items
    return EnvironmentConfig(made.info, made.flags, made.segments, made.keys, Revision("e", revision))


async def test_a_lost_notice_costs_one_interval() -> None:
    """The timer compares revisions."""
    clock, store = FakeClock(), LossyStore()
    snapshots = SnapshotRegistry(store, CompileOptions(), clock, null_telemetry(), interval=5.0)
    running = asyncio.create_task(snapshots.run())
    await snapshots.ready.wait()
    store.held[ENVIRONMENT] = _at(1, flag())
    await clock.advance(4.9)
    assert snapshots.get(ENVIRONMENT) is None
    await clock.advance(0.2)
    assert snapshots.get(ENVIRONMENT) is not None
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_store_that_is_down_leaves_loaded_snapshots() -> None:
    """Changes made meanwhile arrive when it is back."""
    clock, store = FakeClock(), LossyStore()
    store.held[ENVIRONMENT] = _at(1, flag())
    snapshots = SnapshotRegistry(store, CompileOptions(), clock, null_telemetry(), interval=5.0)
    running = asyncio.create_task(snapshots.run())
    await snapshots.ready.wait()
    store.down = True
    await clock.advance(20.0)
    assert snapshots.get(ENVIRONMENT) is not None
    store.down = False
    store.held[ENVIRONMENT] = _at(2, flag(on=False))
    await clock.advance(5.0)
    snapshot = snapshots.get(ENVIRONMENT)
    assert snapshot is not None
    assert snapshot.revision.counter == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_late_process_announces_recent_changes() -> None:
    """Those of the last two minutes, from a store that was filled before."""
    clock, store = FakeClock(), LossyStore()
    missed = Change(Action.PATCH, Domain.FLAG, "checkout", 3)
    store.past = [
        RecentChange(clock.wall() - 500, Change(Action.PATCH, Domain.FLAG, "old", 3)),
        RecentChange(clock.wall() - 50, missed),
    ]
    store.held[ENVIRONMENT] = _at(1, flag())
    heard: list[Announcement] = []
    snapshots = SnapshotRegistry(store, CompileOptions(), clock, null_telemetry())
    snapshots.listen(heard.append)
    await snapshots.resync()
    assert [entry.changes for entry in heard] == [(missed,)]


async def test_concurrent_callers_share_a_read() -> None:
    """Only if the read began after the call."""

    class Counting(LossyStore):
        reads = 0

        async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
            self.reads += 1
            await asyncio.sleep(0)
            return await super().environment(environment)

    store = Counting()
    store.held[ENVIRONMENT] = _at(1, flag())
    snapshots = SnapshotRegistry(store, CompileOptions(), FakeClock(), null_telemetry())
    await asyncio.gather(*(snapshots.refresh(ENVIRONMENT) for _ in range(50)))
    assert store.reads <= 2
