"""Files with other content than ours are refused at the start, and as good as unwritable when in use."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.errors import StartupError, StoreUnavailable, StoreUnusable
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import PutItem, Registration
from ff_proxy.store.sqlite.database import Database
from ff_proxy.telemetry import null_telemetry
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.sqlite import opened, usage


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
