"""A worker sees the sync process's store, and knows without asking when it moved."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey
from ff_proxy.store.link import LinkServer, LinkStore, Tide
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import UNKNOWN, DropItem, Notice, PutItem, Registration
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag, segment


class Pair:
    """A store with its server, and one worker."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "link.sock"
        self.page = directory / "tide"
        self.store = MemoryStore("life", FakeClock())
        self.tide = Tide.create(self.page)
        self.worker = LinkStore(self.socket, Tide.open(self.page))
        self.asked: list[SdkKey] = []

    async def check(self, key: SdkKey) -> str:
        self.asked.append(key)
        return "refused"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """The sync process's end, for a while."""
        server = LinkServer(self.socket, self.store, self.tide, self.check, null_telemetry())
        running = asyncio.create_task(server.run())
        await server.ready.wait()
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Connected, and closed in the end."""
    made = Pair(tmp_path)
    with made.tide, made.worker.tide:
        async with made.serving(), made.worker:
            yield made


async def until(condition: Callable[[], bool]) -> None:
    """Wait for another task's doing."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (what is awaited is on the other side of a socket)
            await asyncio.sleep(0.001)


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


async def test_notices_reach_the_worker_after_the_tide_moved(pair: Pair) -> None:
    """Whoever hears a notice finds the counter moved already."""
    before = pair.worker.tide.environments
    async with pair.worker.configs.watch() as notices:
        revision = await pair.store.configs.replace(config(flag()))
        async with asyncio.timeout(5):
            assert await anext(notices) == Notice(ENVIRONMENT, revision)
        assert pair.worker.tide.environments > before


async def test_a_lost_connection_is_told_and_made_again(tmp_path: Path) -> None:
    """Watchers hear of it, calls fail meanwhile, and afterwards everything is read anew."""
    pair = Pair(tmp_path)
    with pair.tide, pair.worker.tide:
        async with pair.worker:
            with pytest.raises(StoreUnavailable, match="not there"):
                await pair.worker.configs.environments()
            async with pair.serving():
                await pair.store.configs.replace(config(flag()))
                assert await pair.worker.configs.environment(ENVIRONMENT) is not None
                async with pair.worker.configs.watch() as notices:
                    waiting = asyncio.ensure_future(anext(notices))
                    await asyncio.sleep(0)
                    pair.worker._line._writer.close()  # type: ignore[union-attr]  # it is connected
                    with pytest.raises(StoreUnavailable, match="gone"):
                        async with asyncio.timeout(5):
                            await waiting
            async with pair.serving():
                held = await pair.worker.configs.environment(ENVIRONMENT)
                assert held == await pair.store.configs.environment(ENVIRONMENT)


async def test_targets_are_known_without_asking_until_they_move(pair: Pair) -> None:
    """A peek is right or no answer, also after another worker wrote."""
    assert pair.worker.targets.peek(ENVIRONMENT, "ana") is UNKNOWN
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") is None
    assert pair.worker.targets.peek(ENVIRONMENT, "ana") is None
    async with LinkStore(pair.socket, pair.worker.tide) as other:
        await other.targets.put(ENVIRONMENT, Target("ana", "Ana", {"a": 1}))
    assert pair.worker.targets.peek(ENVIRONMENT, "ana") is UNKNOWN
    found = await pair.worker.targets.get(ENVIRONMENT, "ana")
    assert found == Target("ana", "Ana", {"a": 1})
    assert pair.worker.targets.peek(ENVIRONMENT, "ana") is found
    pair.tide.target_moved(ENVIRONMENT, "ana")
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") is found
    await pair.worker.targets.put(ENVIRONMENT, Target("ana"), keep_attributes=True)
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") == Target("ana", "", {"a": 1})


async def test_what_sdks_send_goes_up(pair: Pair) -> None:
    """Usage, registrations and key checks reach the sync process; statuses come down."""
    count = UsageCount(UsageKey(ENVIRONMENT, "FFMETRICS", (("featureIdentifier", '"a"'),)), 3, 9)
    assert await pair.worker.usage.merge([count], []) == 0
    lease = await pair.store.usage.take(ENVIRONMENT, 5)
    assert lease is not None
    assert lease.counts == (count,)
    registration = Registration(ENVIRONMENT, Target("ana", "Ana", {"x": None}))
    assert await pair.worker.registrations.add(registration)
    assert list(await pair.store.registrations.take(5)) == [registration]
    assert await pair.worker.check_key(SdkKey("unknown-key")) == "refused"
    assert pair.asked == [SdkKey("unknown-key")]
    status = UpstreamStatus(StreamState.CONNECTED, 7)
    await pair.store.configs.set_status(ENVIRONMENT, status)
    assert await pair.worker.configs.statuses() == {ENVIRONMENT: status}
    assert await pair.worker.configs.recent(ENVIRONMENT, 0.0) == []


async def test_many_workers_and_calls_at_once(pair: Pair) -> None:
    """Answers find their questions."""
    for number in range(50):
        await pair.store.targets.put(ENVIRONMENT, Target(f"t{number}", str(number)))
    workers = [LinkStore(pair.socket, pair.worker.tide) for _ in range(4)]
    found = await asyncio.gather(
        *(worker.targets.get(ENVIRONMENT, f"t{number}") for number in range(50) for worker in workers)
    )
    assert [target.name for target in found if target] == [
        str(number) for number in range(50) for _ in workers
    ]
    for worker in workers:
        await worker.__aexit__(None, None, None)


def test_the_tide_counts_apart(tmp_path: Path) -> None:
    """Targets of one name in two environments have counters of their own (but for chance)."""
    other = EnvironmentId("00000000-0000-4000-8000-000000000002")
    with Tide.create(tmp_path / "page") as tide, Tide.open(tmp_path / "page") as seen:
        tide.target_moved(ENVIRONMENT, "ana")
        assert seen.targets(ENVIRONMENT, "ana") == 1
        assert seen.targets(other, "ana") == 0
        assert seen.environments == 0
