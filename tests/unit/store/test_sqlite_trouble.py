"""Files that cannot be used are refused; a disk that is full is caught up with."""

import asyncio
import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ff_proxy.errors import StartupError, StoreError, StoreUnavailable, StoreUnusable
from ff_proxy.model.environment import Domain
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey
from ff_proxy.store.protocol import DropItem, PutItem, Registration
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.store.sqlite.database import Database
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.foreign_errors import FOREIGN, made
from tests.support.sqlite import opened, usage


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


async def test_what_changed_when_is_known_after_a_full_disk_and_a_restart(tmp_path: Path) -> None:
    """What changed before, meanwhile and since, and the order in which items vanished."""
    clock = FakeClock()
    async with opened(tmp_path, clock=clock) as store:
        await store.configs.replace(config(*map(flag, ("same", "z", "m", "a"))))
        for name in ("z", "m"):
            await clock.advance(1)
            await store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, name))
    async with opened(tmp_path, "two", clock=clock) as store:
        pages = await store._database.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        await store._database.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        await clock.advance(1)
        await store.configs.apply(ENVIRONMENT, PutItem(flag("big", description="x" * 100_000)))
        await clock.advance(1)
        await store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "a"))
        await store._database.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
        await clock.advance(1)
        await store.configs.apply(ENVIRONMENT, PutItem(flag("late")))
        assert not store.configs._copy.behind
    async with opened(tmp_path, "three", clock=clock) as again:
        recent = await again.configs.recent(ENVIRONMENT, clock.wall() - 120)
        assert [entry.change.identifier for entry in recent] == ["z", "m", "big", "a", "late"]
        assert [clock.wall() - entry.at for entry in recent] == [4, 3, 2, 1, 0]
        held = await again.configs.environment(ENVIRONMENT)
        assert held is not None
        assert list(held.retired) == ["flag:z", "flag:m", "flag:a"]


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
    from ff_proxy.store.protocol import DropItem, PutItem, Registration
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
        assert (
            sorted(entry.target.identifier for entry in await store.registrations.take(ENVIRONMENT, 50))
            == names
        )
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


def _move_root(connection: sqlite3.Connection, table: str, page: int) -> int:
    """Say that ``table`` begins on another page, and return on which it did; others read that at once."""
    connection.execute("PRAGMA writable_schema = 1")
    (before,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.execute("UPDATE sqlite_master SET rootpage = ? WHERE name = ?", (page, table))
    (version,) = connection.execute("PRAGMA schema_version").fetchone()
    connection.execute(f"PRAGMA schema_version = {version + 1}")
    connection.commit()
    return int(before)


@pytest.mark.parametrize("table", ["environments", "items", "targets", "usage_counts", "registrations"])
async def test_a_file_that_is_damaged_while_it_is_used_is_as_good_as_unwritable(
    tmp_path: Path, table: str
) -> None:
    """Memory serves on, nothing counts twice however often it is merged, and a repaired file catches up."""
    async with opened(tmp_path) as store:
        await store.configs.replace(config(flag()))
        with contextlib.closing(sqlite3.connect(tmp_path / "ff-proxy.sqlite")) as other:
            page = _move_root(other, table, 999_999)
            await store.configs.apply(ENVIRONMENT, PutItem(flag("new")))
            await store.targets.put_many(ENVIRONMENT, [Target("t")])
            await store.registrations.add(Registration(ENVIRONMENT, Target("t")))
            assert await store.usage.merge([usage("f", 5)], []) == 0
            with pytest.raises(StoreUnavailable, match="damaged"):
                await store.targets.every(ENVIRONMENT)
            (reason,) = store.recovery.merge_into(Readiness(loaded=1)).degraded
            assert "only in memory" in reason
            assert "damaged" in reason
            _move_root(other, table, page)
        await store.recovery.catch_up()
        assert not store.recovery.merge_into(Readiness(loaded=1)).degraded
    async with opened(tmp_path) as again:
        held = await again.configs.environment(ENVIRONMENT)
        assert held is not None
        assert len(held.flags) == 2
        lease = await again.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        assert [entry.count for entry in lease.counts] == [5]
        assert await again.targets.get(ENVIRONMENT, "t") == Target("t")
        assert len(await again.registrations.take(ENVIRONMENT, 10)) == 1


@pytest.mark.parametrize("moved", ["data/ff-proxy.sqlite", "data"])
async def test_a_file_that_is_moved_away_while_it_is_used_is_as_good_as_unwritable(
    tmp_path: Path, moved: str
) -> None:
    """Written where no restart would look, it would be lost without a word; put back, it catches up."""
    place, away = tmp_path / moved, tmp_path / "away"
    async with opened(tmp_path / "data") as store:
        await store.configs.replace(config(flag()))
        place.rename(away)
        await store.configs.apply(ENVIRONMENT, PutItem(flag("new")))
        (reason,) = store.recovery.merge_into(Readiness(loaded=1)).degraded
        assert "was moved or removed while it is used" in reason
        if place.suffix:
            place.touch()  # another one in its place is not ours
            await store.recovery.catch_up()
            assert store.recovery.merge_into(Readiness(loaded=1)).degraded
        away.replace(place)
        await store.recovery.catch_up()
        assert not store.recovery.merge_into(Readiness(loaded=1)).degraded
    async with opened(tmp_path / "data") as again:
        held = await again.configs.environment(ENVIRONMENT)
        assert held is not None
        assert len(held.flags) == 2


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
        taken = await store.registrations.take(ENVIRONMENT, 10)
        assert taken[-1].target == Target("other")
        for registration in taken:
            await store.registrations.complete(registration, delivered=True)
        await store.targets.put(ENVIRONMENT, Target("t", "new"))
        assert await store.usage.pending() == {}
    async with opened(tmp_path) as store:
        assert await store.targets.get(ENVIRONMENT, "t") == Target("t", "new")
        await store.registrations.add(Registration(ENVIRONMENT, Target("last")))
        assert [one.target for one in await store.registrations.take(ENVIRONMENT, 10)] == [Target("last")]


WRITES: dict[str, Callable[[SqliteStore], Coroutine[object, object, object]]] = {
    "environments": lambda store: store.configs.replace(config(flag())),
    "usage_counts": lambda store: store.usage.merge([usage("a")], []),
    "registrations": lambda store: store.registrations.add(Registration(ENVIRONMENT, Target("a"))),
    "targets": lambda store: store.targets.put(ENVIRONMENT, Target("a")),
}


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("table", WRITES)
async def test_a_cancelled_write_is_in_the_file_soon(tmp_path: Path, table: str, turns: int) -> None:
    """Memory has it, so nobody would write it again: a client that leaves must not cost data in a restart."""
    clock, held = FakeClock(), threading.Event()
    async with SqliteStore(tmp_path, "one", clock, null_telemetry()) as store:
        recovering = asyncio.create_task(store.recovery.run())
        await store.targets.get(ENVIRONMENT, "a")
        holding = asyncio.create_task(store._database.run(lambda _: held.wait(10)))
        await clock.settle()
        writing = asyncio.create_task(WRITES[table](store))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        held.set()
        await holding
        await clock.advance(1)
        await store._database.run(lambda _: None)
        (rows,) = await store._database.run(
            lambda connection: connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        )
        assert rows == (turns > 0)
        assert store.recovery.merge_into(Readiness(loaded=1)).degraded == ()
        assert clock.sleeping == 0
        recovering.cancel()
        await asyncio.gather(recovering, return_exceptions=True)


DAMAGE = {
    "a flag that is not UTF-8": "UPDATE items SET wire = x'7b2261223a22ff227d'",
    "a flag that is cut off": "UPDATE items SET wire = substr(wire, 1, 20)",
    "a flag that is no object": "UPDATE items SET wire = x'5b5d'",
    "a flag that is a text": "UPDATE items SET wire = 'text'",
    "a version that is a text": "UPDATE items SET version = 'x'",
    "a domain that is none": "UPDATE items SET domain = 'x' || identifier",
    "a name that is not UTF-8": "UPDATE items SET identifier = CAST(x'ff' AS TEXT)",
    "a time that is a text": "UPDATE items SET changed = 'x'",
    "an identity that is no JSON": "UPDATE environments SET info = x'7b'",
    "an identity that is not UTF-8": "UPDATE environments SET info = replace(info, 'project', x'ff')",
    "keys that are no list": "UPDATE environments SET keys = x'7b7d'",
    "a moment that is a text": "UPDATE environments SET since = 'x'",
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
async def test_rows_whose_content_is_damaged_are_refused(tmp_path: Path, change: str) -> None:
    """SQLite does not notice: none of it is served, whoever reads it."""
    async with opened(tmp_path) as store:
        await store.configs.replace(config(flag("f")))
    with contextlib.closing(sqlite3.connect(tmp_path / "ff-proxy.sqlite")) as connection, connection:
        connection.execute(change)
    with pytest.raises(StoreUnusable, match=r"damaged.*move it away"):
        async with opened(tmp_path):
            pass


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_bytes_that_changed_are_refused_or_still_make_sense(data: st.DataObject) -> None:
    """Anywhere in the file: what is served after it can be read by an SDK, and no other error comes."""

    async def scenario(directory: Path) -> None:
        async with opened(directory) as store:
            await store.configs.replace(config(*(flag(f"f{n}") for n in range(20))))
        path = directory / "ff-proxy.sqlite"
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 5))):
            at = data.draw(st.integers(0, len(content) - 1))
            new = data.draw(st.binary(min_size=1, max_size=50))[: len(content) - at]
            content[at : at + len(new)] = new
        path.write_bytes(content)
        try:
            async with opened(directory) as store:
                for environment in await store.configs.environments():
                    found = await store.configs.environment(environment)
                    assert found is not None
                    for item in found.flags.values():
                        json.loads(item.wire)
        except (StoreUnusable, StartupError):
            return

    with TemporaryDirectory() as directory:
        asyncio.run(scenario(Path(directory)))
