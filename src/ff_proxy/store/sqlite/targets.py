"""Targets: in the file, up to a capacity; those in use also in memory."""

import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import UNKNOWN, Unknown
from ff_proxy.store.sqlite.database import Database
from ff_proxy.telemetry import OnceLog

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Target).decode
_Key = tuple[EnvironmentId, str]

_UNSAVED: Final = 10_000
_TROUBLE: Final = "data directory not writable, targets kept in memory only"

_UPSERT: Final = (
    "INSERT INTO targets (environment, identifier, target) VALUES (?, ?, ?)"
    " ON CONFLICT (environment, identifier) DO UPDATE SET target = excluded.target"
)


class SqliteTargets:
    """At most ``capacity`` targets; ``cached`` of them (and of identifiers known to be absent) in memory.

    What could not be written stays in memory, and is written with the next that can be.
    """

    def __init__(self, database: Database, capacity: int, cached: int, once: OnceLog) -> None:
        self._database = database
        self._once = once
        self._capacity = capacity
        self._cached = cached
        self._cache: OrderedDict[_Key, Target | None] = OrderedDict()
        self._unsaved: OrderedDict[_Key, Target] = OrderedDict()
        self._stored = 0

    async def load(self) -> None:
        """Count what the file holds."""
        self._stored = await self._database.run(_count)

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``."""
        key = (environment, identifier)
        return self._unsaved.get(key) or self._cache.get(key, UNKNOWN)

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``."""
        key = (environment, identifier)
        if key in self._unsaved:
            return self._unsaved[key]
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        found = await self._database.run(lambda connection: _read(connection, key))
        # A put may have come while the file was read: its word is newer.
        return self._remember(key, self._cache.get(key, found))

    async def put(self, environment: EnvironmentId, target: Target, *, keep_attributes: bool = False) -> None:
        """See ``TargetStore``."""
        key = (environment, target.identifier)
        held = await self.get(environment, target.identifier)
        if held is not None:
            if keep_attributes:
                target = msgspec.structs.replace(target, attributes=held.attributes)
            if held == target:
                return
        self._remember(key, target)
        await self._write(environment, [target], new=held is None)

    async def put_many(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """See ``TargetStore``."""
        for target in targets:
            key = (environment, target.identifier)
            if key in self._cache and self._cache[key] != target:
                self._cache[key] = target
        await self._write(environment, targets, new=True)

    async def _write(self, environment: EnvironmentId, targets: Sequence[Target], *, new: bool) -> None:
        # What memory holds is the newest, whichever of several writes fails.
        batch = {(environment, target.identifier): target for target in targets}
        saving = {**self._unsaved, **batch}
        rows = [(key[0], key[1], _encode(target)) for key, target in saving.items()]

        def write(connection: sqlite3.Connection) -> int | None:
            connection.executemany(_UPSERT, rows)
            return _count(connection) if new and self._stored + len(rows) > self._capacity else None

        try:
            counted = await self._database.run(write)
        except StoreUnavailable as error:
            self._once.warning(_TROUBLE, error=str(error))
            self._keep(batch)
            return
        if self._unsaved:
            for key, target in saving.items():
                if self._unsaved.get(key) == target:
                    del self._unsaved[key]
            self._once.forget(_TROUBLE)
        if counted is not None:
            self._stored = counted
        elif new:
            self._stored += len(rows)
        if self._stored > self._capacity:
            await self._shrink()

    def _keep(self, batch: Mapping[_Key, Target]) -> None:
        for key, target in batch.items():
            self._unsaved[key] = self._cache.get(key) or target
            self._unsaved.move_to_end(key)
        if len(self._unsaved) > _UNSAVED:
            self._once.warning("data directory not writable for long, the oldest targets are dropped")
        while len(self._unsaved) > _UNSAVED:
            self._unsaved.popitem(last=False)

    async def _shrink(self) -> None:
        # A tenth at a time, so that a full table is not counted at every write.
        excess = self._stored - self._capacity + self._capacity // 10

        def shrink(connection: sqlite3.Connection) -> tuple[list[_Key], int]:
            rows = connection.execute(
                "DELETE FROM targets WHERE seq IN (SELECT seq FROM targets ORDER BY seq LIMIT ?)"
                " RETURNING environment, identifier",
                (excess,),
            ).fetchall()
            return [(EnvironmentId(environment), identifier) for environment, identifier in rows], _count(
                connection
            )

        try:
            gone, self._stored = await self._database.run(shrink)
        except StoreUnavailable as error:
            self._once.warning(_TROUBLE, error=str(error))
            return  # the next write tries again
        for key in gone:
            self._cache.pop(key, None)

    def _remember(self, key: _Key, target: Target | None) -> Target | None:
        self._cache[key] = target
        self._cache.move_to_end(key)
        while len(self._cache) > self._cached:
            self._cache.popitem(last=False)
        return target


def _count(connection: sqlite3.Connection) -> int:
    count: int = connection.execute("SELECT count(*) FROM targets").fetchone()[0]
    return count


def _read(connection: sqlite3.Connection, key: _Key) -> Target | None:
    row = connection.execute(
        "SELECT target FROM targets WHERE environment = ? AND identifier = ?", key
    ).fetchone()
    return None if row is None else _decode(row[0])
