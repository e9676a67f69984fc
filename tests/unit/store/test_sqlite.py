"""What only a file can promise: surviving, refusing, and going on when the disk does not."""

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from ff_proxy.model.environment import Action, Domain
from ff_proxy.model.keys import Secret
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageTarget
from ff_proxy.store.merge import RETIRED
from ff_proxy.store.protocol import DropItem, PutItem, Registration
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag, segment
from tests.support.sqlite import opened, usage


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    """Environments, retired versions, targets, outstanding usage, registrations and the secret."""
    ana = Registration(ENVIRONMENT, Target("ana", "Ana", {"a": [1]}))
    async with opened(tmp_path) as store:
        await store.configs.replace(config(flag(version=4), flag("gone", version=9), segment()))
        await store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "gone"))
        await store.targets.put(ENVIRONMENT, ana.target)
        await store.usage.merge([usage("a", 2)], [UsageTarget(ENVIRONMENT, "ana", "Ana", ())])
        await store.usage.take(ENVIRONMENT, 10)
        await store.registrations.add(ana)
        await store.registrations.take(ENVIRONMENT, 1)
        await store.secrets.auth_secret(Secret("kept"))
        before = await store.configs.environment(ENVIRONMENT)
    async with opened(tmp_path, "two") as store:
        held = await store.configs.environment(ENVIRONMENT)
        assert held is not None
        assert before is not None
        assert (held.flags, held.segments, held.keys, held.info) == (
            before.flags,
            before.segments,
            before.keys,
            before.info,
        )
        assert held.since == before.since
        assert held.revision != before.revision
        await store.configs.apply(ENVIRONMENT, PutItem(flag("gone", version=1)))
        held = await store.configs.environment(ENVIRONMENT)
        assert held is not None
        assert held.flags["gone"].version == 10
        assert await store.targets.get(ENVIRONMENT, "ana") == ana.target
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert lease.counts == (usage("a", 2),)
        assert [entry.identifier for entry in lease.targets] == ["ana"]
        assert list(await store.registrations.take(ENVIRONMENT, 5)) == [ana]
        assert await store.secrets.auth_secret(Secret("other")) == Secret("kept")


async def test_what_arrived_does_not_come_back(tmp_path: Path) -> None:
    """Acknowledged usage is gone from the file, later counts of the same key are not."""
    async with opened(tmp_path) as store:
        await store.usage.merge([usage("a", 2), usage("b", 1)], [])
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        await store.usage.merge([usage("a", 5)], [])
        await store.usage.settle(lease)
        await store.usage.settle(lease)
    async with opened(tmp_path) as store:
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert lease.counts == (usage("a", 5),)


async def test_of_a_batch_that_arrived_in_part_the_file_keeps_the_rest(tmp_path: Path) -> None:
    """A process that dies now sends nothing again that has arrived."""
    async with opened(tmp_path) as store:
        seen = [UsageTarget(ENVIRONMENT, name, name, ()) for name in ("ana", "bo")]
        await store.usage.merge([usage("a", 2), usage("b", 1)], seen)
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        await store.usage.settle(lease, lease.counts[1:], lease.targets[1:])
    async with opened(tmp_path) as store:
        again = await store.usage.take(ENVIRONMENT, 10)
        assert again is not None
        assert (again.counts, again.targets) == (lease.counts[1:], lease.targets[1:])


async def test_recent_changes_are_remembered_across_a_restart(tmp_path: Path) -> None:
    """What came with the environment is no change; what came later is, until the window has passed."""
    clock = FakeClock()
    async with opened(tmp_path, clock=clock) as store:
        await store.configs.replace(config(flag(), flag("gone"), flag("still")))
        await clock.advance(10)
        await store.configs.apply(ENVIRONMENT, PutItem(flag(on=False, version=2)))
        await clock.advance(10)
        await store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "gone"))
    async with opened(tmp_path, "two", clock) as store:
        recent = await store.configs.recent(ENVIRONMENT, clock.wall() - 15)
        assert [(entry.change.action, entry.change.identifier) for entry in recent] == [
            (Action.PATCH, "checkout"),
            (Action.DELETE, "gone"),
        ]
        recent = await store.configs.recent(ENVIRONMENT, clock.wall() - 5)
        assert [entry.change.identifier for entry in recent] == ["gone"]


async def test_what_is_not_in_the_file_yet_is_nobodys_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies now knows nothing of it when it starts again; whoever was told would go back."""
    async with opened(tmp_path) as store:
        before = await store.configs.replace(config(flag(version=1)))
        write, begun, go = store.configs._copy.write, asyncio.Event(), asyncio.Event()

        async def slow(*work: Any) -> None:
            begun.set()
            await go.wait()
            await write(*work)

        monkeypatch.setattr(store.configs._copy, "write", slow)
        writing = asyncio.create_task(store.configs.apply(ENVIRONMENT, PutItem(flag(version=2))))
        await begun.wait()
        held = await store.configs.environment(ENVIRONMENT)
        assert held is not None
        assert held.revision == before
        assert await store.configs.environments() == {ENVIRONMENT: before}
        go.set()
        assert await store.configs.environments() == {ENVIRONMENT: before}
        after = await writing
        assert await store.configs.environments() == {ENVIRONMENT: after}


async def test_a_removed_environment_stays_removed(tmp_path: Path) -> None:
    """Removal reaches the file."""
    async with opened(tmp_path) as store:
        await store.configs.replace(config(flag()))
        await store.configs.remove(ENVIRONMENT)
    async with opened(tmp_path) as store:
        assert await store.configs.environments() == {}


async def test_the_oldest_targets_make_room(tmp_path: Path) -> None:
    """The table stays within its capacity, and what it dropped is dropped from memory too."""
    async with opened(tmp_path, target_bytes=100 * 200) as store:
        for number in range(150):
            await store.targets.put(ENVIRONMENT, Target(f"t{number}", "n"))
        assert await store.targets.get(ENVIRONMENT, "t0") is None
        assert await store.targets.get(ENVIRONMENT, "t149") == Target("t149", "n")
    with contextlib.closing(sqlite3.connect(tmp_path / "ff-proxy.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM targets").fetchone()[0] <= 100


async def test_an_item_that_is_being_written_is_no_recent_change_yet(tmp_path: Path) -> None:
    """Nobody sees it, so a deletion of it would be an event about nothing."""
    async with opened(tmp_path) as store:
        await store.configs.replace(config(flag()))
        gate = threading.Event()
        holding = asyncio.create_task(store._database.run(lambda _: gate.wait()))
        writing = asyncio.create_task(store.configs.apply(ENVIRONMENT, PutItem(flag("new"))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        early = await store.configs.recent(ENVIRONMENT, 0.0)
        gate.set()
        await asyncio.gather(holding, writing)
        assert not early
        recent = await store.configs.recent(ENVIRONMENT, 0.0)
        assert [entry.change.identifier for entry in recent] == ["new"]


async def test_targets_that_arrive_together_make_room_once(tmp_path: Path) -> None:
    """Each of them found the table full, and a tenth was deleted for each: sixty emptied it."""
    async with opened(tmp_path, target_bytes=100 * 200) as store:
        for number in range(99):
            await store.targets.put(ENVIRONMENT, Target(f"t{number}", "n"))
        new = [Target(f"n{number}", "n") for number in range(60)]
        await asyncio.gather(*(store.targets.put(ENVIRONMENT, target) for target in new))
        held = await store.targets.every(ENVIRONMENT)
        assert len(held) >= 60
        assert new[-1] in held


async def test_vanished_items_are_remembered_in_bounds(tmp_path: Path) -> None:
    """The last of them, in memory as well as in the file."""
    names = [f"f{number}" for number in range(RETIRED + 10)]
    async with opened(tmp_path) as store:
        await store.configs.replace(config(*map(flag, names[:10])))
        await store.configs.replace(config())
        await store.configs.replace(config(*map(flag, names[10:])))
        await store.configs.replace(config(flag("last")))
        await store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "last"))
    async with opened(tmp_path, "two") as again:
        held = await again.configs.environment(ENVIRONMENT)
        assert held is not None
        assert len(held.retired) == RETIRED
        assert "flag:last" in held.retired
        assert "flag:f0" not in held.retired
        count = await again._database.run(lambda c: c.execute("SELECT count(*) FROM items").fetchone()[0])
        assert count == RETIRED
