"""A worker sees the sync process's store, and knows without asking when it moved."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ff_proxy.errors import StoreRefused, StoreUnavailable
from ff_proxy.ipc import (
    IpcServer,
    IpcStore,
    State,
    SyncState,
    WorkerServices,
)
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, Secret
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import UNKNOWN, DropItem, PutItem, Registration
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag, segment
from tests.support.ipc_pair import Pair, until


async def test_environments_are_read_whole_and_then_by_difference(pair: Pair) -> None:
    """What did not change stays the same object at the worker."""
    assert await pair.worker.configs.environments() == {}
    assert await pair.worker.configs.environment(ENVIRONMENT) is None
    await pair.store.configs.replace(config(flag("a"), flag("b"), segment()))
    first = await pair.worker.configs.environment(ENVIRONMENT)
    assert first == await pair.store.configs.environment(ENVIRONMENT)
    assert first is not None
    await pair.store.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=2)))
    await pair.store.configs.apply(ENVIRONMENT, DropItem(first.segments["beta"].domain, "beta"))
    await pair.store.configs.apply(ENVIRONMENT, DropItem(first.flags["b"].domain, "b"))
    await pair.store.configs.apply(ENVIRONMENT, PutItem(flag("c")))
    second = await pair.worker.configs.environment(ENVIRONMENT)
    assert second == await pair.store.configs.environment(ENVIRONMENT)
    await pair.store.configs.apply(ENVIRONMENT, PutItem(flag("a", version=3)))
    third = await pair.worker.configs.environment(ENVIRONMENT)
    assert second is not None
    assert third is not None
    assert third.flags["c"] is second.flags["c"]
    await pair.store.configs.remove(ENVIRONMENT)
    assert await pair.worker.configs.environment(ENVIRONMENT) is None


async def test_a_lost_connection_is_told_and_made_again(tmp_path: Path) -> None:
    """Watchers hear of it; calls wait for a moment, and what is asked then is answered."""
    pair = Pair(tmp_path)
    with pair.generations:
        async with pair.worker:
            async with pair.serving():
                await pair.store.configs.replace(config(flag()))
                before = await pair.worker.configs.environment(ENVIRONMENT)
                async with pair.worker.configs.watch() as notices:
                    waiting = asyncio.ensure_future(anext(notices))
                    await asyncio.sleep(0)
                    pair.worker._client._connection._frames.close()  # type: ignore[union-attr]  # it is connected
                    with pytest.raises(StoreUnavailable, match="not reachable"):
                        async with asyncio.timeout(5):
                            await waiting
            asking = asyncio.create_task(pair.worker.configs.environment(ENVIRONMENT))
            await asyncio.sleep(0)
            moved = pair.generations.environment(ENVIRONMENT)
            async with pair.serving():
                assert pair.generations.environment(ENVIRONMENT) > moved, "a new life has everybody compare"
                assert await asking == await pair.store.configs.environment(ENVIRONMENT) == before


async def test_who_is_away_for_long_is_not_waited_for(tmp_path: Path) -> None:
    """Known targets are served meanwhile, and what was handed over then is delivered afterwards."""
    pair = Pair(tmp_path)
    clock = FakeClock()
    pair.worker = IpcStore(pair.socket, pair.generations, clock)
    targets = pair.worker.targets
    with pair.generations:
        async with pair.worker:
            async with pair.serving():
                await clock.advance(1)
                await targets.put(ENVIRONMENT, Target("ana", "Ana", {"a": 1}))
                known = await targets.get(ENVIRONMENT, "ana")
            await until(lambda: pair.worker._client._connection is None)
            await clock.advance(4)
            async with asyncio.timeout(1):
                pair.generations.bump_target(ENVIRONMENT, "ana")
                assert targets.peek(ENVIRONMENT, "ana") is UNKNOWN
                assert await targets.get(ENVIRONMENT, "ana") is known
                with pytest.raises(StoreUnavailable, match="not reachable"):
                    await targets.get(ENVIRONMENT, "bob")
                for target, keep in ((Target("ana", "Anna"), True), (Target("bob", "Bob", {"b": 2}), False)):
                    with pytest.raises(StoreUnavailable, match="not reachable"):
                        await targets.put(ENVIRONMENT, target, keep_attributes=keep)
                assert await targets.get(ENVIRONMENT, "ana") == Target("ana", "Anna", {"a": 1})
                assert targets.peek(ENVIRONMENT, "bob") == Target("bob", "Bob", {"b": 2})
                assert await pair.worker.check(SdkKey("any")) is KeyVerdict.UNAVAILABLE
            async with pair.serving():
                await clock.advance(1)
                await until(lambda: pair.worker._client._connection is not None)
                await targets.flush_pending()
                assert await pair.store.targets.get(ENVIRONMENT, "ana") == Target("ana", "Anna", {"a": 1})
                assert await pair.store.targets.get(ENVIRONMENT, "bob") == Target("bob", "Bob", {"b": 2})
                assert await targets.get(ENVIRONMENT, "bob") == Target("bob", "Bob", {"b": 2})
                listed = sorted(await targets.every(ENVIRONMENT), key=lambda one: one.identifier)
                assert listed == [Target("ana", "Anna", {"a": 1}), Target("bob", "Bob", {"b": 2})]


async def test_counts_are_never_handed_over_twice_by_the_connection_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether they arrived: whoever holds them decides. Anything else is asked again."""
    pair = Pair(tmp_path)
    reached = asyncio.Event()
    monkeypatch.setattr(pair.store.usage, "merge", _never(reached))
    monkeypatch.setattr(pair.store.registrations, "add", _never(reached))
    with pair.generations:
        async with pair.worker:
            async with pair.serving():
                merging = asyncio.create_task(pair.worker.usage.merge([], []))
                await reached.wait()
                reached.clear()
                adding = asyncio.create_task(
                    pair.worker.registrations.add(Registration(ENVIRONMENT, Target("ana")))
                )
                await reached.wait()
            with pytest.raises(StoreUnavailable):
                await merging
            pair.store = MemoryStore("another life", FakeClock())
            async with pair.serving():
                assert await adding


def _never(reached: asyncio.Event) -> Callable[..., Awaitable[Any]]:
    async def act(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.get_running_loop().create_future()

    return act


async def test_a_merge_goes_up_under_its_name(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which a shared store knows one that is asked for again."""
    names: list[str] = []

    async def merge(*_: object, name: str) -> int:
        names.append(name)
        return 0

    monkeypatch.setattr(pair.store.usage, "merge", merge)
    await pair.worker.usage.merge([], [], name="kept")
    assert names == ["kept"]


async def test_what_sdks_send_goes_up(pair: Pair) -> None:
    """Usage, registrations and key checks reach the sync process; statuses come down."""
    count = UsageCount(UsageKey(ENVIRONMENT, "FFMETRICS", (("featureIdentifier", '"a"'),)), 3, 9)
    assert await pair.worker.usage.merge([count], []) == 0
    lease = await pair.store.usage.take(ENVIRONMENT, 5)
    assert lease is not None
    assert lease.counts == (count,)
    registration = Registration(ENVIRONMENT, Target("ana", "Ana", {"x": None}))
    assert await pair.worker.registrations.add(registration)
    assert list(await pair.store.registrations.take(ENVIRONMENT, 5)) == [registration]
    assert await pair.worker.check(SdkKey("unknown-key")) is KeyVerdict.REFUSED
    assert pair.asked == [SdkKey("unknown-key")]
    assert await pair.worker.secrets.auth_secret(Secret("another")) == Secret("signs")
    status = UpstreamStatus(StreamState.CONNECTED, 7)
    await pair.store.configs.set_status(ENVIRONMENT, status)
    assert await pair.worker.configs.statuses() == {ENVIRONMENT: status}
    assert await pair.worker.configs.recent(ENVIRONMENT, 0.0) == []


async def test_many_workers_and_calls_at_once(pair: Pair) -> None:
    """Answers find their questions."""
    for number in range(50):
        await pair.store.targets.put(ENVIRONMENT, Target(f"t{number}", str(number)))
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(IpcStore(pair.socket, pair.generations, pair.clock))
            for _ in range(4)
        ]
        found = await asyncio.gather(
            *(worker.targets.get(ENVIRONMENT, f"t{number}") for number in range(50) for worker in workers)
        )
    assert [target.name for target in found if target] == [
        str(number) for number in range(50) for _ in workers
    ]


async def test_the_last_worker_to_leave_is_noticed(tmp_path: Path) -> None:
    """Then everything that they held has been handed over."""
    pair = Pair(tmp_path)
    offer = WorkerServices(
        pair.store.configs,
        pair.targets,
        pair.store.usage,
        pair.store.registrations,
        pair.check,
        pair.secret,
        pair.tell,
    )
    server = IpcServer(pair.socket, offer, pair.generations, pair.clock, null_telemetry().failures)
    running = asyncio.create_task(server.run())
    await server.ready.wait()
    await server.until_disconnected()
    async with pair.worker:
        await pair.worker.state()
        waiting = asyncio.create_task(server.until_disconnected())
        await asyncio.sleep(0.01)
        assert not waiting.done()
    async with asyncio.timeout(5):
        await waiting
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Loaded:
    """Snapshots of which only the presence counts."""

    def __init__(self) -> None:
        self.names: set[EnvironmentId] = set()


async def test_a_worker_is_ready_once_both_have_loaded_and_stays_so(pair: Pair) -> None:
    """The sync process decides, the worker catches up; afterwards only degraded."""
    loaded = Loaded()
    clock = FakeClock()
    state = SyncState(pair.worker, lambda: loaded.names, pair.generations, clock)
    assert not state.readiness().ready
    assert state.environments() == frozenset()
    await state.poll()
    assert state.readiness().pending == ("not yet",)
    assert state.environments() == {ENVIRONMENT}
    pair.state = State(Readiness(loaded=1), frozenset([ENVIRONMENT]), frozenset([ENVIRONMENT]))
    await state.poll()
    assert not state.readiness().ready
    assert ENVIRONMENT in state.readiness().pending[0]
    loaded.names.add(ENVIRONMENT)
    await state.poll()
    assert state.readiness() == Readiness(loaded=1)
    # A sync process that begins anew.
    pair.state = State(Readiness(pending=("key: not tried yet",)), frozenset(), frozenset([ENVIRONMENT]))
    await state.poll()
    assert state.readiness() == Readiness(loaded=1, degraded=("key: not tried yet",))


async def test_a_worker_that_loads_while_the_sync_process_begins_anew_is_ready(pair: Pair) -> None:
    """Another worker has seen it ready: what it held then is complete."""
    loaded = Loaded()
    first, late = (
        SyncState(pair.worker, lambda: loaded.names, pair.generations, FakeClock()) for _ in range(2)
    )
    held = frozenset([ENVIRONMENT])
    pair.state = State(Readiness(pending=("key: not tried yet",)), frozenset(), held)
    loaded.names.add(ENVIRONMENT)
    await first.poll()
    assert not first.readiness().ready
    pair.state = State(Readiness(loaded=1), held, held)
    await first.poll()
    pair.state = State(Readiness(pending=("key: not tried yet",)), frozenset(), held)
    loaded.names.clear()
    await late.poll()
    assert not late.readiness().ready
    loaded.names.add(ENVIRONMENT)
    await late.poll()
    assert late.readiness() == Readiness(loaded=1, degraded=("key: not tried yet",))


async def test_a_worker_that_has_loaded_is_ready_though_the_sync_process_died_before_it_said_so(
    tmp_path: Path,
) -> None:
    """It had told another worker only."""
    pair = Pair(tmp_path)
    clock = FakeClock()
    loaded = Loaded()
    held = frozenset([ENVIRONMENT])
    with pair.generations:
        async with IpcStore(pair.socket, pair.generations, clock) as worker:
            state = SyncState(worker, lambda: loaded.names, pair.generations, clock)
            async with pair.serving():
                pair.state = State(Readiness(pending=("key: not tried yet",)), frozenset(), held)
                await clock.advance(1)
                await state.poll()
            await until(lambda: worker._client._connection is None)
            pair.generations.mark_ready()
            loaded.names.add(ENVIRONMENT)
            await clock.advance(4)
            await state.poll()
            assert state.readiness().ready
            assert "not reachable" in state.readiness().degraded[0]


async def test_a_sync_process_that_is_away_makes_a_worker_degraded(tmp_path: Path) -> None:
    """Not unready: it serves what it has."""
    pair = Pair(tmp_path)
    clock = FakeClock()
    worker = IpcStore(pair.socket, pair.generations, clock)
    loaded = Loaded()
    loaded.names.add(ENVIRONMENT)
    pair.state = State(Readiness(loaded=1), frozenset([ENVIRONMENT]), frozenset([ENVIRONMENT]))
    state = SyncState(worker, lambda: loaded.names, pair.generations, clock)
    with pair.generations:
        async with worker:
            async with pair.serving():
                await clock.advance(1)
                await state.poll()
                assert state.readiness().ready
            await until(lambda: worker._client._connection is None)
            await clock.advance(4)
            await state.poll()
    assert state.readiness().ready
    assert "not reachable" in state.readiness().degraded[0]


async def test_what_is_handed_over_late_takes_the_place_of_nothing_newer(pair: Pair) -> None:
    """Another worker was told something newer while this one could not hand over what it had been told."""
    await pair.worker.targets.put(ENVIRONMENT, Target("ana", "first"))
    put = pair.store.targets.put

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    pair.store.targets.put = away  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await pair.worker.targets.put(ENVIRONMENT, Target("ana", "second"))
    pair.store.targets.put = put  # type: ignore[method-assign]
    newest = int(pair.clock.wall() * 1000) + 60_000
    await pair.targets.put(ENVIRONMENT, Target("ana", "third"), described_at=newest)
    await pair.worker.targets.flush_pending()
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") == Target("ana", "third")


async def test_what_finds_no_room_at_a_worker_is_counted(pair: Pair) -> None:
    """Of what was read, and of what could not be handed over."""
    telemetry = null_telemetry()
    shares = msgspec.structs.replace(LEAST_SHARES, targets=5_000, pending_writes=5_000)
    async with IpcStore(pair.socket, pair.generations, pair.clock, shares, telemetry.dropped) as worker:
        for number in range(5):
            await worker.targets.put(ENVIRONMENT, Target(f"t{number}", "x" * 1_000))
            await worker.targets.get(ENVIRONMENT, f"t{number}")

        async def away(*_: object, **__: object) -> None:
            raise StoreUnavailable("away")

        pair.store.targets.put = away  # type: ignore[method-assign]
        for number in range(5):
            with pytest.raises(StoreUnavailable):
                await worker.targets.put(ENVIRONMENT, Target(f"t{number}", "y" * 1_000))
    for container in ("targets", "pending_writes"):
        assert telemetry.metrics.entries_dropped.labels(container)._value.get() > 0


@pytest.mark.parametrize("still_away", [True, False])
async def test_attributes_that_wait_for_the_sync_process_are_kept(pair: Pair, *, still_away: bool) -> None:
    """Whoever says nothing of attributes keeps those too that could not be handed over yet."""
    await pair.worker.targets.put(ENVIRONMENT, Target("ana", "Ana", {"plan": "free"}))
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") is not None
    put = pair.store.targets.put

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    pair.store.targets.put = away  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await pair.worker.targets.put(ENVIRONMENT, Target("ana", "Ana", {"plan": "gold"}))
    with contextlib.ExitStack() as stack:
        if still_away:
            stack.enter_context(pytest.raises(StoreUnavailable))
        else:
            pair.store.targets.put = put  # type: ignore[method-assign]
        await pair.worker.targets.put(ENVIRONMENT, Target("ana", "Anna"), keep_attributes=True)
    pair.store.targets.put = put  # type: ignore[method-assign]
    await pair.worker.targets.flush_pending()
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") == Target("ana", "Anna", {"plan": "gold"})


@pytest.mark.parametrize(
    "attributes",
    [{"a": 10**20}, {"a": "\ud800"}, {"\ud800": 1}, {"a": object()}],
    ids=["large", "half a character", "half a name", "no JSON"],
)
async def test_what_cannot_be_carried_is_refused_alone(pair: Pair, attributes: dict[str, object]) -> None:
    """It is not kept to be tried for ever, and neither side ends."""
    odd = Target("ana", "", attributes)
    with pytest.raises(StoreRefused):
        await pair.worker.targets.put(ENVIRONMENT, odd)
    with pytest.raises(StoreRefused):
        await pair.worker.registrations.add(Registration(ENVIRONMENT, odd))
    await pair.store.targets.put(ENVIRONMENT, Target("bo", "", {"a": 10**20}))
    with pytest.raises(StoreRefused):
        await pair.worker.targets.get(ENVIRONMENT, "bo")
    await pair.worker.targets.flush_pending()
    await pair.worker.targets.put(ENVIRONMENT, Target("ana"))
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") == Target("ana")


async def test_a_request_that_fails_oddly_ends_nothing(pair: Pair) -> None:
    """Whatever a store raises, the other requests of its workers go on."""

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    pair.store.targets.get = broken  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="ZeroDivisionError"):
        await pair.worker.targets.get(ENVIRONMENT, "ana")
    assert await pair.worker.state() == pair.state
