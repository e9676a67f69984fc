"""What only a file can promise: surviving, refusing, and going on when the disk does not."""

import asyncio
import contextlib
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ff_proxy.errors import StartupError, StoreError, StoreUnusable
from ff_proxy.model.environment import Action, Domain
from ff_proxy.model.keys import Secret
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.store.merge import RETIRED
from ff_proxy.store.protocol import DropItem, PutItem, Registration
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.store.sqlite.database import Database
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag, segment
from tests.support.foreign_errors import FOREIGN, made


def opened(directory: Path, epoch: str = "one", clock: FakeClock | None = None, **sizes: Any) -> SqliteStore:
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
        assert lines.getvalue().count("continuing from memory") == 1
        await store._database.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
        await store.configs.apply(ENVIRONMENT, PutItem(flag("last")))
        await store.usage.merge([usage("late")], [])
    async with opened(tmp_path) as again:
        held = await again.configs.environment(ENVIRONMENT)
        assert held is not None
        assert len(held.flags) == 6
        assert await again.usage.pending() == {ENVIRONMENT: 2}


async def test_the_file_is_brought_up_to_date_as_soon_as_there_is_room(tmp_path: Path) -> None:
    """Nobody has to change anything for that; whoever is killed then has lost nothing."""
    lines = io.StringIO()
    clock = FakeClock()
    store = SqliteStore(tmp_path / "data", "one", clock, Telemetry(make_logger("INFO", lines), clock))
    big = "x" * 100_000
    async with store:
        recovering = asyncio.create_task(store.recovery.run())
        await store.configs.replace(config(flag()))
        pages = await store._database.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        await store._database.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        await store.configs.apply(ENVIRONMENT, PutItem(flag(version=2, description=big)))
        await store.targets.put(ENVIRONMENT, Target("t", big))
        await store.usage.merge([UsageCount(UsageKey(ENVIRONMENT, big, ()), 1, 1)], [])
        degraded = store.recovery.merge_into(Readiness(loaded=1)).degraded
        assert len(degraded) == 1
        assert "full" in degraded[0]
        for _ in range(20):
            await clock.advance(5)
            await store._database.run(lambda _: None)
        assert store.recovery.merge_into(Readiness(loaded=1)).degraded == degraded
        await store._database.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
        async with asyncio.timeout(10):
            while store.recovery.merge_into(Readiness(loaded=1)).degraded:
                await clock.advance(5)
                await store._database.run(lambda _: None)
        shutil.copytree(tmp_path / "data", tmp_path / "killed")
        recovering.cancel()
        await asyncio.gather(recovering, return_exceptions=True)
    assert lines.getvalue().count("continuing from memory") == 1
    assert lines.getvalue().count("up to date") == 1
    async with opened(tmp_path / "killed") as again:
        held = await again.configs.environment(ENVIRONMENT)
        assert held is not None
        assert held.flags["checkout"].version == 2
        assert await again.targets.get(ENVIRONMENT, "t") == Target("t", big)
        assert await again.usage.pending() == {ENVIRONMENT: 1}


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


async def test_targets_of_a_full_disk_are_in_the_file_when_there_is_room(tmp_path: Path) -> None:
    """Those too that memory would have let go meanwhile."""
    async with opened(tmp_path, shares=msgspec.structs.replace(LEAST_SHARES, targets=120_000)) as store:
        pages = await store._database.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        await store._database.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        big = [Target(f"t{number}", "x" * 50_000) for number in range(6)]
        for target in big:
            await store.targets.put(ENVIRONMENT, target)
        for target in big:
            assert await store.targets.get(ENVIRONMENT, target.identifier) == target
            assert store.targets.peek(ENVIRONMENT, target.identifier) == target
        newer = Target("t0", "newer")
        await store.targets.put(ENVIRONMENT, newer)
        await store._database.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
        await store.targets.put(ENVIRONMENT, Target("last"))
        assert len(store.targets._unsaved) == 0
    async with opened(tmp_path) as again:
        for target in (newer, *big[1:], Target("last")):
            assert await again.targets.get(ENVIRONMENT, target.identifier) == target


async def test_a_file_damaged_in_the_middle_is_refused(tmp_path: Path) -> None:
    """Its head is whole: reading the environments finds out, before anything is served."""
    async with opened(tmp_path) as store:
        await store.configs.replace(config(*(flag(f"f{n}", description="x" * 3000) for n in range(50))))
    path = tmp_path / "ff-proxy.sqlite"
    content = bytearray(path.read_bytes())
    content[8192:-4096] = b"\xa5" * (len(content) - 12288)
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match=r"damaged.*move it away"):
        async with opened(tmp_path):
            pass


LIMITED = textwrap.dedent("""
    import asyncio, resource, sys
    from pathlib import Path
    from ff_proxy.model.target import Target
    from ff_proxy.model.usage import UsageCount, UsageKey
    from ff_proxy.store.protocol import PutItem, Registration
    from ff_proxy.store.sqlite import SqliteStore
    from ff_proxy.telemetry import null_telemetry
    from tests.support.clock import FakeClock
    from tests.support.configs import ENVIRONMENT, config, flag

    async def write(store, name):
        target = Target(name, "x" * 20_000)
        await store.configs.apply(ENVIRONMENT, PutItem(flag(name, description="x" * 20_000)))
        await store.targets.put(ENVIRONMENT, target)
        await store.registrations.add(Registration(ENVIRONMENT, target))
        key = UsageKey(ENVIRONMENT, "FFMETRICS", (("name", name),))
        await store.usage.merge([UsageCount(key, 1, 1)], [])

    async def main():
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        async with SqliteStore(Path(sys.argv[1]), "w", FakeClock(), null_telemetry()) as store:
            await store.configs.replace(config())
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
            for number in range(20):
                await write(store, f"n{number}")
            behind = store.configs._copy.behind
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            await write(store, "last")
            print(int(behind), len((await store.configs.environment(ENVIRONMENT)).flags))

    asyncio.run(main())
""")


async def test_a_file_that_may_not_grow_is_caught_up_with(tmp_path: Path) -> None:
    """What the system refuses to write is in the file when it does not refuse any more, of every kind."""
    root = Path(__file__).parents[3]
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=root,
        check=False,
    )
    assert run.stdout.split() == ["1", "21"], run.stderr
    async with opened(tmp_path) as store:
        held = await store.configs.environment(ENVIRONMENT)
        assert held is not None
        names = sorted(held.flags)
        assert len(names) == 21
        for name in names:
            assert await store.targets.get(ENVIRONMENT, name) is not None
        assert sorted(entry.target.identifier for entry in await store.registrations.take(50)) == names
        assert await store.usage.pending() == {ENVIRONMENT: 21}


@given(kind=st.sampled_from(FOREIGN))
@settings(max_examples=10)
def test_no_piece_of_work_raises_what_is_not_ours(kind: type[BaseException]) -> None:
    """Whatever SQLite or Python says, and the next piece finds the database as it was."""
    error = made(kind)
    assume(error is not None and not isinstance(error, StopIteration))
    assert error is not None

    def fail(_: sqlite3.Connection) -> None:
        raise error

    async def use() -> None:
        with TemporaryDirectory() as place:
            async with Database(Path(place), "test", null_telemetry().once("store")) as database:
                with pytest.raises(StoreError):
                    await database.run(fail)
                assert await database.run(lambda connection: connection.in_transaction)

    asyncio.run(use())


@pytest.mark.parametrize("table", ["environments", "items", "secrets", "usage_counts"])
async def test_a_file_that_lacks_a_table_is_refused(tmp_path: Path, table: str) -> None:
    """With what to do about it, before anything is served from it."""
    async with Database(tmp_path, "test", null_telemetry().once("store")) as database:
        await database.run(lambda connection: connection.execute(f"DROP TABLE {table}"))
    with pytest.raises(StoreUnusable, match=f"lacks the tables {table}"):
        await Database(tmp_path, "test", null_telemetry().once("store")).__aenter__()


@pytest.mark.parametrize(
    "row",
    [
        b'{"identifier":"t","name":"T","attributes":{"a":100000000000000000000}}',
        b'{"identifier":"t","attributes":{"a":"%b"}}' % (b"x" * 1_000_000),
        b'{"identifier":"t","attributes":%b%b}' % (b"[" * 3000, b"]" * 3000),
        b"{",
        b"\xff",
    ],
    ids=["big", "long", "deep", "half", "binary"],
)
async def test_rows_that_older_versions_or_others_wrote_hold_nothing_up(tmp_path: Path, row: bytes) -> None:
    """Targets, registrations and usage: what can be read is, the rest is left out, and what follows works."""
    async with opened(tmp_path) as store:
        await store._database.run(
            lambda c: [
                c.execute(
                    "INSERT INTO targets (environment, identifier, target) VALUES (?, 't', ?)",
                    (ENVIRONMENT, row),
                ),
                c.execute(
                    "INSERT INTO registrations (environment, identifier, target) VALUES (?, 't', ?)",
                    (ENVIRONMENT, row),
                ),
                c.execute("INSERT INTO usage_counts VALUES (?, 1, 1)", (row,)),
                c.execute("INSERT INTO usage_targets VALUES (?, 't', ?)", (ENVIRONMENT, row)),
            ]
        )
    async with opened(tmp_path) as store:
        got = await store.targets.get(ENVIRONMENT, "t")
        assert got is None or msgspec.msgpack.encode(got)
        await store.registrations.add(Registration(ENVIRONMENT, Target("other")))
        taken = await store.registrations.take(10)
        assert taken[-1].target == Target("other")
        for registration in taken:
            await store.registrations.complete(registration, delivered=True)
        await store.targets.put(ENVIRONMENT, Target("t", "new"))
        assert await store.usage.pending() == {}
    async with opened(tmp_path) as store:
        assert await store.targets.get(ENVIRONMENT, "t") == Target("t", "new")
        await store.registrations.add(Registration(ENVIRONMENT, Target("last")))
        assert [one.target for one in await store.registrations.take(10)] == [Target("last")]
