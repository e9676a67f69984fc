"""What only a file can promise: surviving, refusing, and going on when the disk does not."""

import asyncio
import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ff_proxy.errors import StartupError, StoreUnusable
from ff_proxy.model.environment import Action, Domain
from ff_proxy.model.keys import Secret
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.store.protocol import DropItem, PutItem, Registration
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag, segment


def opened(directory: Path, epoch: str = "one", clock: FakeClock | None = None, **sizes: int) -> SqliteStore:
    """A store on ``directory``."""
    return SqliteStore(directory, epoch, clock or FakeClock(), null_telemetry(), name="ff-proxy", **sizes)


def usage(flag_name: str, count: int = 1) -> UsageCount:
    """A count of one flag."""
    return UsageCount(
        UsageKey(ENVIRONMENT, "FFMETRICS", (("featureIdentifier", f'"{flag_name}"'),)), count, 5
    )


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
        await store.registrations.take(1)
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
        assert list(await store.registrations.take(5)) == [ana]
        assert await store.secrets.auth_secret(Secret("other")) == Secret("kept")


async def test_what_arrived_does_not_come_back(tmp_path: Path) -> None:
    """Acknowledged usage is gone from the file, later counts of the same key are not."""
    async with opened(tmp_path) as store:
        await store.usage.merge([usage("a", 2), usage("b", 1)], [])
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        await store.usage.merge([usage("a", 5)], [])
        await store.usage.acknowledge(lease)
        await store.usage.acknowledge(lease)
    async with opened(tmp_path) as store:
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert lease.counts == (usage("a", 5),)


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


async def test_a_removed_environment_stays_removed(tmp_path: Path) -> None:
    """Removal reaches the file."""
    async with opened(tmp_path) as store:
        await store.configs.replace(config(flag()))
        await store.configs.remove(ENVIRONMENT)
    async with opened(tmp_path) as store:
        assert await store.configs.environments() == {}


async def test_the_oldest_targets_make_room(tmp_path: Path) -> None:
    """The table stays within its capacity, and what it dropped is dropped from memory too."""
    async with opened(tmp_path, target_capacity=100, target_cache=500) as store:
        for number in range(150):
            await store.targets.put(ENVIRONMENT, Target(f"t{number}", "n"))
        assert await store.targets.get(ENVIRONMENT, "t0") is None
        assert await store.targets.get(ENVIRONMENT, "t149") == Target("t149", "n")
    with contextlib.closing(sqlite3.connect(tmp_path / "ff-proxy.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM targets").fetchone()[0] <= 100


async def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    """Two processes never write one file; the message says what to do."""
    async with opened(tmp_path):
        with pytest.raises(StartupError, match="in use by another ff-proxy"):
            async with opened(tmp_path):
                pass
    async with opened(tmp_path) as store:
        assert await store.configs.environments() == {}


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """With the user id that would need the right."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StartupError, match=rf"cannot be written by user id {os.getuid()}"):
        async with opened(tmp_path / "file" / "below"):
            pass


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    """It is left as it is."""
    async with opened(tmp_path):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "ff-proxy.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnusable, match="written by a newer ff-proxy"):
        async with opened(tmp_path):
            pass


async def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """Another program's database is not laid out anew."""
    with contextlib.closing(sqlite3.connect(tmp_path / "ff-proxy.sqlite")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreUnusable, match="not a file of ff-proxy"):
        async with opened(tmp_path):
            pass


@pytest.mark.parametrize(
    "damage", [b"not a database at all, but long enough to be read as one" * 100, b"\x00" * 9000]
)
async def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    """With what to do about it."""
    (tmp_path / "ff-proxy.sqlite").write_bytes(damage)
    with pytest.raises(StoreUnusable, match=r"(damaged|not a file of ff-proxy).*move"):
        async with opened(tmp_path):
            pass


async def test_a_full_disk_is_said_once_and_made_up_for(tmp_path: Path) -> None:
    """Changes are served from memory meanwhile, and all of them are in the file when there is room again."""
    lines = io.StringIO()
    clock = FakeClock()
    telemetry = Telemetry(make_logger("INFO", lines), clock)
    store = SqliteStore(tmp_path, "one", clock, telemetry)
    async with store:
        await store.configs.replace(config(flag()))
        pages = await store._database.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        await store._database.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        big = "x" * 100_000
        for version in range(2, 6):
            await store.configs.apply(ENVIRONMENT, PutItem(flag(f"f{version}", description=big)))
            await store.usage.merge([UsageCount(UsageKey(ENVIRONMENT, big, ()), 1, 1)], [])
        held = await store.configs.environment(ENVIRONMENT)
        assert held is not None
        assert len(held.flags) == 5
        assert lines.getvalue().count("going on from memory") == 1
        await store._database.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
        await store.configs.apply(ENVIRONMENT, PutItem(flag("last")))
        await store.usage.merge([usage("late")], [])
    async with opened(tmp_path) as again:
        held = await again.configs.environment(ENVIRONMENT)
        assert held is not None
        assert len(held.flags) == 6
        assert await again.usage.pending() == {ENVIRONMENT: 2}


WRITER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from ff_proxy.model.target import Target
    from ff_proxy.store.protocol import PutItem
    from ff_proxy.store.sqlite import SqliteStore
    from ff_proxy.telemetry import null_telemetry
    from tests.support.clock import FakeClock
    from tests.support.configs import ENVIRONMENT, config, flag

    async def main():
        async with SqliteStore(Path(sys.argv[1]), "w", FakeClock(), null_telemetry()) as store:
            await store.configs.replace(config(flag()))
            for number in range(1, 1_000_000):
                await store.configs.apply(ENVIRONMENT, PutItem(flag(on=bool(number % 2), version=number)))
                await store.targets.put(ENVIRONMENT, Target(f"t{number}", "n"))
                print(number, flush=True)

    asyncio.run(main())
""")


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
async def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    """Kill -9 in the middle of writing: the file opens, and everything said to be stored is there."""
    root = Path(__file__).parents[3]
    writer = subprocess.Popen(  # noqa: ASYNC220  (starting it is all that blocks)
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=root,
    )
    assert writer.stdout is not None
    last = 0
    with writer.stdout as lines:
        while last < acknowledged:
            last = int(await asyncio.to_thread(lines.readline))
        writer.send_signal(signal.SIGKILL)
        rest = [int(line) for line in lines.read().split()]
    writer.wait()
    last = max([last, *rest])
    async with opened(tmp_path) as store:
        held = await store.configs.environment(ENVIRONMENT)
        assert held is not None
        assert json.loads(held.flags["checkout"].wire)["version"] >= last
        assert await store.targets.get(ENVIRONMENT, f"t{last}") is not None
