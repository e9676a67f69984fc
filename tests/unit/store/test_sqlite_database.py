"""The database's thread: concurrent work shares transactions, and fails alone."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.sqlite.database import Database
from ff_proxy.telemetry import null_telemetry

_Work = Callable[[sqlite3.Connection], int]


@asynccontextmanager
async def _opened(directory: Path) -> AsyncIterator[Database]:
    async with Database(directory, "test", null_telemetry().once("store")) as database:
        await database.run(lambda connection: connection.execute("CREATE TABLE numbers (number INTEGER)"))
        yield database


def _insert(number: int) -> _Work:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        return number

    return work


def _insert_and_fail(number: int) -> _Work:
    def work(connection: sqlite3.Connection) -> int:
        _insert(number)(connection)
        raise sqlite3.OperationalError("disk I/O error")

    return work


def _numbers(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY rowid")]


async def test_what_is_asked_for_during_a_transaction_shares_the_next(tmp_path: Path) -> None:
    """A thousand small writes cost a few commits."""
    async with _opened(tmp_path) as database:
        begun: list[str] = []
        await database.run(lambda connection: connection.set_trace_callback(begun.append))
        assert await asyncio.gather(*(database.run(_insert(number)) for number in range(1000))) == [
            *range(1000)
        ]
        await database.run(lambda connection: connection.set_trace_callback(None))
        assert await database.run(_numbers) == [*range(1000)]
        assert sum(statement.startswith("BEGIN") for statement in begun) < 10


@given(st.lists(st.booleans(), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_work_that_fails_fails_alone(good: list[bool]) -> None:
    """Nothing of it stays, and everything else of the same transaction does, in order."""

    async def check() -> None:
        with TemporaryDirectory() as directory:
            async with _opened(Path(directory)) as database:
                works = [
                    _insert(number) if fine else _insert_and_fail(number) for number, fine in enumerate(good)
                ]
                outcomes = await asyncio.gather(*map(database.run, works), return_exceptions=True)
                kept = [number for number, fine in enumerate(good) if fine]
                assert [outcome for outcome in outcomes if isinstance(outcome, int)] == kept
                assert sum(isinstance(outcome, StoreUnavailable) for outcome in outcomes) == good.count(False)
                assert await database.run(_numbers) == kept

    asyncio.run(check())


async def test_work_of_callers_that_gave_up_is_left_out(tmp_path: Path) -> None:
    """If it has not begun: a write that nobody waits for must not come as a surprise later."""
    async with _opened(tmp_path) as database:
        begun, go_on = threading.Event(), threading.Event()

        def slow(_: sqlite3.Connection) -> None:
            begun.set()
            go_on.wait(10)

        running = asyncio.create_task(database.run(slow))
        await asyncio.to_thread(begun.wait, 10)
        given_up = asyncio.create_task(database.run(_insert(1)))
        kept = asyncio.create_task(database.run(_insert(2)))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        go_on.set()
        await asyncio.gather(running, kept)
        assert await database.run(_numbers) == [2]


async def test_closing_waits_for_what_was_asked_for(tmp_path: Path) -> None:
    """A write that was accepted is in the file."""
    async with _opened(tmp_path) as database:
        writing = [asyncio.create_task(database.run(_insert(number))) for number in range(600)]
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    async with Database(tmp_path, "test", null_telemetry().once("store")) as database:
        assert await database.run(_numbers) == [*range(600)]


async def test_a_closed_database_is_unavailable(tmp_path: Path) -> None:
    """It says so at once."""
    async with _opened(tmp_path) as database:
        pass
    with pytest.raises(StoreUnavailable, match="not open"):
        await database.run(_numbers)


async def test_an_error_of_ours_arrives_as_it_is(tmp_path: Path) -> None:
    """It is not its own cause, which would be followed for ever."""

    def fail(_: sqlite3.Connection) -> None:
        raise StoreUnavailable("ours")

    async with _opened(tmp_path) as database:
        with pytest.raises(StoreUnavailable, match="ours") as raised:
            await database.run(fail)
    assert raised.value.__cause__ is None
