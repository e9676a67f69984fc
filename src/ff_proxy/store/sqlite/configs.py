"""Environments: all in memory; every change is written to the file before it is announced."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
)
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.memory.store import MemoryConfigs
from ff_proxy.store.merge import Difference, apply_edit, difference, merge, retired_name, split_name
from ff_proxy.store.protocol import Edit
from ff_proxy.store.sqlite.database import Database
from ff_proxy.store.sqlite.write_behind import FileRecovery, Work, WriteBehind

_encode: Final = msgspec.json.Encoder().encode
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# How Python reports a text that is none; SQLite itself does not look.
_NOT_TEXT: Final = "Could not decode to UTF-8"
_ItemRow = tuple[str, str, str, int, str, bytes | None, float]


class SqliteConfigs(MemoryConfigs):
    """All environments; a revision's epoch identifies this opening of the file.

    Readers see what is in the file: other data would be lost in a restart. While the file cannot be written
    they see everything.
    """

    def __init__(self, database: Database, epoch: str, clock: Clock, recovery: FileRecovery) -> None:
        super().__init__(epoch, clock)
        self._database = database
        self._copy = WriteBehind(database, recovery, self._all_rows)
        # With what is being written.
        self._newest: dict[EnvironmentId, EnvironmentConfig] = {}
        # When which item changed, by its ``retired_name``.
        self._times: dict[EnvironmentId, dict[str, float]] = {}
        # One write at a time, so that the merged state is still current when it is committed.
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read every environment from the file."""
        environments, self._times = await self._database.load(_read_all)
        self._newest = {config.id: self._revised(config, config) for config in environments}
        self._environments = dict(self._newest)

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``."""
        config = self._environments.get(environment)
        times = self._times.get(environment, {})
        if config is None:
            return ()
        recent = [(at, _change(config, name)) for name, at in times.items() if at > since]
        found = [RecentChange(at, change) for at, change in recent if change is not None]
        return sorted(found, key=lambda one: one.at)

    async def replace(self, config: EnvironmentConfig) -> Revision:
        """See ``ConfigWriter``."""
        async with self._writing:
            old = self._newest.get(config.id)
            return await self._write(old, merge(old, config))

    async def apply(self, environment: EnvironmentId, edit: Edit) -> Revision | None:
        """See ``ConfigWriter``."""
        async with self._writing:
            old = self._newest.get(environment)
            return None if old is None else await self._write(old, apply_edit(old, edit))

    async def remove(self, environment: EnvironmentId) -> None:
        """See ``ConfigWriter``."""
        async with self._writing:
            self._times.pop(environment, None)
            if self._newest.pop(environment, None) is not None:

                def forget(connection: sqlite3.Connection) -> None:
                    connection.execute("DELETE FROM environments WHERE id = ?", (environment,))
                    connection.execute("DELETE FROM items WHERE environment = ?", (environment,))

                await self._copy.write(forget)
            await super().remove(environment)

    async def _write(self, old: EnvironmentConfig | None, new: EnvironmentConfig) -> Revision:
        if new is old:
            return new.revision
        config = self._revised(old, new)
        change = difference(old, config)
        rows = list(_changed_rows(old, config, change, self._clock.wall()))
        forgotten = [(new.id, *_columns(name)) for name in change.forgotten]

        def write(connection: sqlite3.Connection) -> None:
            _write_environment(connection, config)
            _write_items(connection, rows)
            connection.executemany(
                "DELETE FROM items WHERE environment = ? AND domain = ? AND identifier = ?", forgotten
            )

        if old is not None:
            times = self._times.setdefault(new.id, {})
            times.update({_name(domain, identifier): at for _, domain, identifier, _, _, _, at in rows})
            for name in change.forgotten:
                times.pop(name, None)
        # Memory first: if the file is behind, the next write writes everything in memory.
        self._newest[new.id] = config
        try:
            await self._copy.write(write)
        finally:
            # Also when cancelled: it is written later, and an equal write would be no change.
            self._show(config)
        return config.revision

    def _all_rows(self) -> Work:
        configs = [(config, dict(self._times.get(name, {}))) for name, config in self._newest.items()]

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


def _change(config: EnvironmentConfig, name: str) -> Change | None:
    """The change after which an item is as it is; ``None`` while a new one is being written."""
    domain, identifier = split_name(name)
    item = config.items(domain).get(identifier)
    if item is not None:
        return Change(Action.PATCH, domain, identifier, item.version)
    version = config.retired.get(name)
    return None if version is None else Change(Action.DELETE, domain, identifier, version)


def read_environments(connection: sqlite3.Connection) -> list[EnvironmentConfig]:
    """Every environment in the file, without revisions.

    Raises ``sqlite3.DatabaseError`` also for rows whose content is damaged: nothing of it must be served.
    """
    return _read_all(connection)[0]


def _read_all(
    connection: sqlite3.Connection,
) -> tuple[list[EnvironmentConfig], dict[EnvironmentId, dict[str, float]]]:
    """As ``read_environments``, and when which item changed."""
    parts: dict[str, tuple[dict[str, Item], dict[str, Item], dict[str, int]]] = {}
    times: dict[EnvironmentId, dict[str, float]] = {}
    with _unreadable_as_damage():
        rows = connection.execute(
            "SELECT environment, domain, identifier, version, digest, wire, changed FROM items"
            " ORDER BY changed"
        )
        for row in rows:
            environment, domain_name, identifier, version, digest, wire, changed = _checked(row)
            flags, segments, retired = parts.setdefault(environment, ({}, {}, {}))
            domain = Domain(domain_name)
            name = retired_name(domain, identifier)
            if wire is None:
                retired[name] = version
            else:
                items = flags if domain is Domain.FLAG else segments
                items[identifier] = Item(domain, identifier, version, wire, digest)
            if changed > 0:
                times.setdefault(EnvironmentId(environment), {})[name] = changed
        environments = [
            EnvironmentConfig(
                msgspec.json.decode(info, type=EnvironmentInfo),
                *parts.get(name, ({}, {}, {}))[:2],
                keys=frozenset(SdkKeyHash(key) for key in msgspec.json.decode(keys, type=list[str])),
                retired=parts.get(name, ({}, {}, {}))[2],
                since=float(since),
            )
            for name, info, keys, since in connection.execute(
                "SELECT id, info, keys, since FROM environments"
            )
        ]
    return environments, times


def _checked(row: tuple[Any, ...]) -> _ItemRow:
    """An item's row; raises ``ValueError`` if it cannot be one that was written."""
    match row:
        case (str(), str(), str(), int(), str(), None, float()):
            return row
        case (str(), str(), str(), int(), str(), bytes() as wire, float()):
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
