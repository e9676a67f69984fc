"""Environments: all in memory; every change is written to the file before it is announced."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final

import msgspec

from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import (
    Action,
    Change,
    Domain,
    EnvironmentConfig,
    EnvironmentInfo,
    Item,
    RecentChange,
    Revision,
    UpstreamStatus,
)
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.change_feed import Feed
from ff_proxy.store.merge import Difference, apply_edit, difference, merge, retired_name, split_name
from ff_proxy.store.protocol import Edit, Notice
from ff_proxy.store.sqlite.database import Database
from ff_proxy.store.sqlite.write_behind import FileRecovery, Work, WriteBehind

_encode: Final = msgspec.json.Encoder().encode
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# How Python reports a text that is none; SQLite itself does not look.
_NOT_TEXT: Final = "Could not decode to UTF-8"
_ItemRow = tuple[str, str, str, int, str, bytes | None, float]


class SqliteConfigs:
    """All environments; a revision's epoch identifies this opening of the file."""

    def __init__(self, database: Database, epoch: str, clock: Clock, recovery: FileRecovery) -> None:
        self._database = database
        self._copy = WriteBehind(database, recovery, self._all_rows)
        self._epoch = epoch
        self._clock = clock
        self._counter = 0
        self._environments: dict[EnvironmentId, EnvironmentConfig] = {}
        # What readers see: data that is not in the file yet would be lost in a restart.
        self._visible: dict[EnvironmentId, EnvironmentConfig] = {}
        # When which item changed, by its ``retired_name``, for the case that everything is written anew.
        self._times: dict[EnvironmentId, dict[str, float]] = {}
        self._changed: dict[EnvironmentId, float] = {}
        self._statuses: dict[EnvironmentId, UpstreamStatus] = {}
        self._feed = Feed()
        # One write at a time, so that the merged state is still current when it is committed.
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read every environment from the file."""
        self._times = await self._database.run(_read_times)
        self._changed = {name: max(times.values()) for name, times in self._times.items()}
        for config in await self._database.run(read_all):
            self._counter += 1
            revision = Revision(self._epoch, self._counter)
            self._environments[config.id] = msgspec.structs.replace(config, revision=revision)
        self._visible = dict(self._environments)

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``."""
        return {name: config.revision for name, config in self._visible.items()}

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        return self._visible.get(environment)

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``; reads the file only if there are changes."""
        if self._changed.get(environment, 0.0) <= since:
            return ()

        def read(connection: sqlite3.Connection) -> list[RecentChange]:
            rows = connection.execute(
                "SELECT changed, domain, identifier, version, wire IS NULL FROM items"
                " WHERE environment = ? AND changed > ? ORDER BY changed",
                (environment, since),
            )
            return [
                RecentChange(
                    changed,
                    Change(Action.DELETE if gone else Action.PATCH, Domain(domain), identifier, version),
                )
                for changed, domain, identifier, version, gone in rows
            ]

        return await self._database.run(read)

    async def replace(self, config: EnvironmentConfig) -> Revision:
        """See ``ConfigWriter``."""
        async with self._writing:
            old = self._environments.get(config.id)
            return await self._commit(old, merge(old, config))

    async def apply(self, environment: EnvironmentId, edit: Edit) -> Revision | None:
        """See ``ConfigWriter``."""
        async with self._writing:
            old = self._environments.get(environment)
            return None if old is None else await self._commit(old, apply_edit(old, edit))

    async def remove(self, environment: EnvironmentId) -> None:
        """See ``ConfigWriter``."""
        async with self._writing:
            self._statuses.pop(environment, None)
            self._changed.pop(environment, None)
            self._times.pop(environment, None)
            if self._environments.pop(environment, None) is None:
                return

            def forget(connection: sqlite3.Connection) -> None:
                connection.execute("DELETE FROM environments WHERE id = ?", (environment,))
                connection.execute("DELETE FROM items WHERE environment = ?", (environment,))

            await self._copy.write(forget)
            self._visible.pop(environment, None)
            self._feed.publish(Notice(environment, None))

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``."""
        return self._feed.watch()

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """See ``StatusStore``; not stored in the file."""
        self._statuses[environment] = status

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusStore``."""
        return dict(self._statuses)

    async def _commit(self, old: EnvironmentConfig | None, new: EnvironmentConfig) -> Revision:
        if new is old:
            return new.revision
        now = self._clock.wall()
        self._counter += 1
        revision = Revision(self._epoch, self._counter)
        committed = msgspec.structs.replace(new, revision=revision, since=now if old is None else old.since)
        change = difference(old, committed)
        rows = list(_changed_rows(old, committed, change, now))
        forgotten = [(new.id, *_columns(name)) for name in change.forgotten]

        def write(connection: sqlite3.Connection) -> None:
            _write_environment(connection, committed)
            _write_items(connection, rows)
            connection.executemany(
                "DELETE FROM items WHERE environment = ? AND domain = ? AND identifier = ?", forgotten
            )

        if old is not None and rows:
            self._changed[new.id] = now
            self._note_times(new.id, rows, change.forgotten)
        # Memory first: if the file is behind, the next write writes everything in memory.
        self._environments[new.id] = committed
        try:
            await self._copy.write(write)
        finally:
            # Also when cancelled: the write continues, and an equal write later would be no change.
            self._visible[new.id] = committed
        self._feed.publish(Notice(new.id, revision))
        return revision

    def _note_times(
        self, environment: EnvironmentId, rows: Sequence[_ItemRow], forgotten: Sequence[str]
    ) -> None:
        times = self._times.setdefault(environment, {})
        times.update({_name(domain, identifier): at for _, domain, identifier, _, _, _, at in rows})
        for name in forgotten:
            times.pop(name, None)

    def _all_rows(self) -> Work:
        configs = [(config, dict(self._times.get(name, {}))) for name, config in self._environments.items()]

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM environments")
            connection.execute("DELETE FROM items")
            for config, times in configs:
                _write_environment(connection, config)
                rows = _changed_rows(None, config, difference(None, config), 0.0)
                _write_items(connection, ((*row[:6], times.get(_name(row[1], row[2]), 0.0)) for row in rows))

        return write


def _write_environment(connection: sqlite3.Connection, config: EnvironmentConfig) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO environments (id, info, keys, since) VALUES (?, ?, ?, ?)",
        (config.id, _encode(config.info), _encode(sorted(config.keys)), config.since),
    )


def _write_items(connection: sqlite3.Connection, rows: Sequence[_ItemRow] | Iterator[_ItemRow]) -> None:
    connection.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _changed_rows(
    old: EnvironmentConfig | None, new: EnvironmentConfig, change: Difference, now: float
) -> Iterator[_ItemRow]:
    """The rows that ``change`` writes; the items of a new environment are not changes."""
    at = 0.0 if old is None else now
    for item in change.changed:
        yield (new.id, item.domain.value, item.identifier, item.version, item.digest, item.wire, at)
    for name, version in change.retired.items():
        yield (new.id, *_columns(name), version, "", None, at)


def _columns(name: str) -> tuple[str, str]:
    domain, identifier = split_name(name)
    return domain.value, identifier


def _name(domain: str, identifier: str) -> str:
    return retired_name(Domain(domain), identifier)


def _read_times(connection: sqlite3.Connection) -> dict[EnvironmentId, dict[str, float]]:
    times: dict[EnvironmentId, dict[str, float]] = {}
    with _unreadable_as_damage():
        rows = connection.execute(
            "SELECT environment, domain, identifier, changed FROM items WHERE changed > 0"
        )
        for environment, domain, identifier, changed in rows:
            times.setdefault(EnvironmentId(environment), {})[_name(domain, identifier)] = float(changed)
    return times


def read_all(connection: sqlite3.Connection) -> list[EnvironmentConfig]:
    """Every environment in the file, without revisions.

    Raises ``sqlite3.DatabaseError`` also for rows whose content is damaged: nothing of it must be served.
    """
    with _unreadable_as_damage():
        return _read_environments(connection)


def _read_environments(connection: sqlite3.Connection) -> list[EnvironmentConfig]:
    parts: dict[str, tuple[dict[str, Item], dict[str, Item], dict[str, int]]] = {}
    rows = connection.execute(
        "SELECT environment, domain, identifier, version, digest, wire FROM items ORDER BY changed"
    )
    for row in rows:
        environment, domain_name, identifier, version, digest, wire = _checked(row)
        flags, segments, retired = parts.setdefault(environment, ({}, {}, {}))
        domain = Domain(domain_name)
        if wire is None:
            retired[retired_name(domain, identifier)] = version
        else:
            items = flags if domain is Domain.FLAG else segments
            items[identifier] = Item(domain, identifier, version, wire, digest)
    return [
        EnvironmentConfig(
            info=msgspec.json.decode(info, type=EnvironmentInfo),
            flags=parts.get(name, ({}, {}, {}))[0],
            segments=parts.get(name, ({}, {}, {}))[1],
            keys=frozenset(SdkKeyHash(key) for key in msgspec.json.decode(keys, type=list[str])),
            retired=parts.get(name, ({}, {}, {}))[2],
            since=float(since),
        )
        for name, info, keys, since in connection.execute("SELECT id, info, keys, since FROM environments")
    ]


def _checked(row: tuple[Any, ...]) -> tuple[str, str, str, int, str, bytes | None]:
    """An item's row; raises ``ValueError`` if it cannot be one that was written."""
    match row:
        case (str(), str(), str(), int(), str(), None):
            return row
        case (str(), str(), str(), int(), str(), bytes() as wire):
            wire.decode()
            _decode_object(wire)
            return row
    raise ValueError("an item has a value of another type")


@contextmanager
def _unreadable_as_damage() -> Iterator[None]:
    """Raise ``sqlite3.DatabaseError`` for content that cannot be understood: the file is damaged."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"a row cannot be read: {error}") from error
    except sqlite3.OperationalError as error:
        if not str(error).startswith(_NOT_TEXT):
            raise
        raise sqlite3.DatabaseError("a row cannot be read: a text is not UTF-8") from error
