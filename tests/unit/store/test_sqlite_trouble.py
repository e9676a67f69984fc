"""Directories that cannot be used are refused; a disk that is full is caught up with."""

import asyncio
import io
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

from ff_proxy.errors import StartupError, StoreError
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
