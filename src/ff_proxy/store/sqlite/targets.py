"""Targets: in the file, up to a capacity; recently used ones also in memory."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.clock import Clock, milliseconds
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import MemoryShares
from ff_proxy.model.target import Target
from ff_proxy.store.merge import merge_target
from ff_proxy.store.protocol import UNKNOWN, Unknown
from ff_proxy.store.sqlite.database import Database
from ff_proxy.store.sqlite.write_behind import FileRecovery
from ff_proxy.telemetry import OnceLog
from ff_proxy.wire.stored import DescribedTarget, encode_row, read_row

_Key = tuple[EnvironmentId, str]

# The approximate size of a row besides identifier and target.
_ROW_BYTES: Final = 150
_SIZE: Final = f"length(identifier) + length(target) + {_ROW_BYTES}"

_UNREADABLE: Final = "a stored target cannot be read and is ignored"

_UPSERT: Final = (
    "INSERT INTO targets (environment, identifier, target) VALUES (?, ?, ?)"
    " ON CONFLICT (environment, identifier) DO UPDATE SET target = excluded.target"
)


class SqliteTargets:
    """At most ``capacity`` bytes of targets; recent lookups, including misses, are cached in memory.

    Failed writes stay in memory and are retried with the next write.
    """

    def __init__(
        self,
        database: Database,
        capacity: int,
        shares: MemoryShares,
        clock: Clock,
        recovery: FileRecovery,
        once: OnceLog,
        dropped: Callable[[str], Callable[[int], object]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._recovery = recovery
        self._once = once
        self._capacity = capacity
        self._cache: BoundedMap[_Key, DescribedTarget | None] = BoundedMap(
            shares.targets, dropped=dropped("targets")
        )
        self._unsaved: BoundedMap[_Key, DescribedTarget] = BoundedMap(
            shares.pending_writes, dropped=self._drop_unsaved
        )
        self._count_unsaved = dropped("pending_writes")
        self._stored = 0
        self._shrinking = False
        recovery.add(self)

    @property
    def behind(self) -> bool:
        """Whether the file is behind."""
        return bool(self._unsaved)

    async def load(self) -> None:
        """Measure the file's content."""
        self._stored = await self._database.load(_measure)

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``."""
        key = (environment, identifier)
        if key not in self._unsaved and key not in self._cache:
            return UNKNOWN
        held = self._unsaved.peek(key) or self._cache.get(key)
        return None if held is None else held.target

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``."""
        held = await self._held((environment, identifier))
        return None if held is None else held.target

    async def put(
        self,
        environment: EnvironmentId,
        target: Target,
        *,
        keep_attributes: bool = False,
        described_at: int | None = None,
    ) -> None:
        """See ``TargetStore``."""
        key = (environment, target.identifier)
        held = await self._held(key)
        described = merge_target(
            held,
            target,
            milliseconds(self._clock),
            keep_attributes=keep_attributes,
            described_at=described_at,
        )
        if described is not held:
            self._remember(key, described)
            await self._write({key: described})

    async def put_many(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """See ``TargetStore``."""
        now = milliseconds(self._clock)
        batch: dict[_Key, DescribedTarget] = {}
        for target in targets:
            key = (environment, target.identifier)
            batch[key] = merge_target(self._unsaved.get(key) or self._cache.get(key), target, now)
            if key in self._cache:
                self._cache.put(key, batch[key])
        await self._write(batch)

    async def every(self, environment: EnvironmentId) -> Sequence[Target]:
        """See ``TargetStore``."""
        rows = await self._database.run(lambda connection: _read_all(connection, environment))
        found = {row.target.identifier: row.target for row in map(read_row, rows) if row is not None}
        unsaved = {name: held.target for (of, name), held in self._unsaved.items() if of == environment}
        return list((found | unsaved).values())

    async def _held(self, key: _Key) -> DescribedTarget | None:
        unsaved = self._unsaved.get(key)
        if unsaved is not None:
            return unsaved
        if key in self._cache:
            return self._cache.get(key)
        row = await self._database.run(lambda connection: _read(connection, key))
        found = None if row is None else read_row(row)
        if row is not None and found is None:
            self._once.warning(_UNREADABLE, key[0])
        # A concurrent put during the read is newer.
        return self._remember(key, self._cache.get(key) if key in self._cache else found)

    async def catch_up(self) -> None:
        """Write what is missing in the file; raises ``StoreError``."""
        await self._save({})
        self._recovery.written()

    async def _write(self, batch: Mapping[_Key, DescribedTarget]) -> None:
        try:
            await self._save(batch)
        except StoreUnavailable as error:
            self._keep(batch)
            self._recovery.failed(error)
        except asyncio.CancelledError:  # perhaps before it began
            self._keep(batch)
            self._recovery.interrupted()
            raise

    async def _save(self, batch: Mapping[_Key, DescribedTarget]) -> None:
        # Memory has the newest version, whichever write fails.
        saving = {**dict(self._unsaved.items()), **batch}
        rows = [(key[0], key[1], encode_row(described)) for key, described in saving.items()]
        size = sum(len(row[1]) + len(row[2]) + _ROW_BYTES for row in rows)

        def write(connection: sqlite3.Connection) -> int | None:
            connection.executemany(_UPSERT, rows)
            return _measure(connection) if self._stored + size > self._capacity else None

        counted = await self._database.run(write)
        if self._unsaved:
            for key, described in saving.items():
                if self._unsaved.peek(key) is described:
                    self._unsaved.pop(key)
            self._recovery.written()
        if counted is not None:
            self._stored = counted
        else:
            self._stored += size
        if self._stored > self._capacity and not self._shrinking:
            self._shrinking = True  # each of several at once would delete as much
            try:
                await self._shrink()
            finally:
                self._shrinking = False

    def _keep(self, batch: Mapping[_Key, DescribedTarget]) -> None:
        for key, described in batch.items():
            self._unsaved.put(key, self._cache.get(key) or described)

    def _drop_unsaved(self, entries: int) -> None:
        self._count_unsaved(entries)
        self._once.warning("data directory not writable for long, the oldest targets are dropped")

    async def _shrink(self) -> None:
        # Delete a tenth at a time, so that a full table is not measured at every write.
        excess = self._stored - self._capacity + self._capacity // 10

        def shrink(connection: sqlite3.Connection) -> tuple[list[_Key], int]:
            rows = connection.execute(
                f"DELETE FROM targets WHERE seq IN (SELECT seq FROM (SELECT seq, sum({_SIZE}) OVER"  # noqa: S608
                " (ORDER BY seq) AS running FROM targets) WHERE running <= ?)"
                " RETURNING environment, identifier",
                (excess,),
            ).fetchall()
            gone = [(EnvironmentId(environment), identifier) for environment, identifier in rows]
            return gone, _measure(connection)

        try:
            gone, self._stored = await self._database.run(shrink)
        except StoreUnavailable as error:
            self._once.warning("targets beyond the limit not deleted yet", error=str(error))
            return  # the next write tries again
        for key in gone:
            self._cache.pop(key)

    def _remember(self, key: _Key, described: DescribedTarget | None) -> DescribedTarget | None:
        self._cache.put(key, described)
        return described


def _measure(connection: sqlite3.Connection) -> int:
    size: int = connection.execute(f"SELECT coalesce(sum({_SIZE}), 0) FROM targets").fetchone()[0]  # noqa: S608
    return size


def _read(connection: sqlite3.Connection, key: _Key) -> bytes | None:
    row = connection.execute(
        "SELECT target FROM targets WHERE environment = ? AND identifier = ?", key
    ).fetchone()
    return None if row is None else bytes(row[0])


def _read_all(connection: sqlite3.Connection, environment: EnvironmentId) -> list[bytes]:
    rows = connection.execute("SELECT target FROM targets WHERE environment = ?", (environment,))
    return [bytes(row[0]) for row in rows]
