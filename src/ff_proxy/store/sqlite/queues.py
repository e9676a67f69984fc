"""Usage and registrations: queues in memory, with everything unfinished also in the file.

The file has no leases: entries leased when the process died are queued again at the next start.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import msgspec

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageEntries, UsageKey, UsageTarget
from ff_proxy.store.memory.queues import MemoryRegistrations, MemoryUsageQueue
from ff_proxy.store.protocol import Registration, UsageLease
from ff_proxy.store.sqlite.database import Database
from ff_proxy.store.sqlite.write_behind import FileRecovery, Work, WriteBehind
from ff_proxy.telemetry import OnceLog
from ff_proxy.wire.stored import encode_target, read_row

_encode: Final = msgspec.json.Encoder().encode
_UNREADABLE: Final = (ValueError, TypeError, RecursionError)
_LOST: Final = "entries in the data directory that wait for Harness cannot be read and are dropped"
_ADD: Final = (
    "INSERT INTO usage_counts (key, count, timestamp) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
    " count = min(count + excluded.count, 9007199254740991), timestamp = max(timestamp, excluded.timestamp)"
)
_DESCRIBE: Final = "INSERT OR REPLACE INTO usage_targets (environment, identifier, target) VALUES (?, ?, ?)"


class SqliteUsageQueue(MemoryUsageQueue):
    """All usage, queued or leased, as one row per key."""

    def __init__(self, database: Database, budget: int, recovery: FileRecovery, once: OnceLog) -> None:
        super().__init__(budget)
        self._database = database
        self._once = once
        self._copy = WriteBehind(database, recovery, self._all_rows)

    async def load(self) -> None:
        """Load what was unfinished when the file was last used."""
        counts, targets, lost = await self._database.load(_read_usage)
        self._buffer.add(counts, targets)
        if lost:
            self._once.warning(_LOST, entries=lost)

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        """See ``UsageQueue``: after this returns, a killed process loses nothing."""
        del name
        added = self._buffer.add(counts, targets)
        await self._copy.write(partial(_write_usage, added))
        return len(counts) + len(targets) - len(added)

    async def settle(
        self, lease: UsageLease, counts: Sequence[UsageCount] = (), targets: Sequence[UsageTarget] = ()
    ) -> None:
        """See ``UsageQueue``."""
        if not self._buffer.settle(lease, counts, targets):
            return
        keys, identifiers = {entry.key for entry in counts}, {entry.identifier for entry in targets}
        delivered = [entry for entry in lease.counts if entry.key not in keys]
        described = [entry for entry in lease.targets if entry.identifier not in identifiers]
        if delivered or described:
            await self._forget(delivered, described)

    async def _forget(self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget]) -> None:
        def forget(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "UPDATE usage_counts SET count = count - ? WHERE key = ?",
                [(entry.count, _encode(entry.key)) for entry in counts],
            )
            connection.executemany(
                "DELETE FROM usage_counts WHERE key = ? AND count <= 0",
                [(_encode(entry.key),) for entry in counts],
            )
            connection.executemany(
                # A target replaced while this lease was in flight is still unfinished.
                "DELETE FROM usage_targets WHERE environment = ? AND identifier = ? AND target = ?",
                map(_target_row, targets),
            )

        await self._copy.write(forget)

    def _all_rows(self) -> Work:
        outstanding = self._buffer.outstanding()

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM usage_counts")
            connection.execute("DELETE FROM usage_targets")
            _write_usage(outstanding, connection)

        return write


class SqliteRegistrations(MemoryRegistrations):
    """Registrations, queued or in flight, as one row each."""

    def __init__(self, database: Database, budget: int, recovery: FileRecovery, once: OnceLog) -> None:
        super().__init__(budget)
        self._database = database
        self._once = once
        self._copy = WriteBehind(database, recovery, self._all_rows)

    async def load(self) -> None:
        """Load what was unfinished when the file was last used."""
        registrations, lost = await self._database.load(_read_registrations)
        for registration in registrations:
            await super().add(registration)
        if lost:
            self._once.warning(_LOST, entries=lost)

    async def add(self, registration: Registration) -> bool:
        """See ``Registrations``."""
        added = await super().add(registration)
        if added and self.is_waiting(registration):
            await self._copy.write(lambda connection: _write_registrations(connection, [registration]))
        return added

    async def complete(self, registration: Registration, *, delivered: bool) -> None:
        """See ``Registrations``."""
        await super().complete(registration, delivered=delivered)
        if delivered:
            await self._delete(registration)

    async def discard(self, registration: Registration) -> None:
        """See ``Registrations``."""
        await super().discard(registration)
        await self._delete(registration)

    async def _delete(self, registration: Registration) -> None:
        await self._copy.write(
            lambda connection: connection.execute(
                "DELETE FROM registrations WHERE environment = ? AND identifier = ? AND target = ?",
                _registration_row(registration),
            )
        )

    def _all_rows(self) -> Work:
        outstanding = self.outstanding()

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM registrations")
            _write_registrations(connection, outstanding)

        return write


def _write_usage(entries: UsageEntries, connection: sqlite3.Connection) -> None:
    connection.executemany(_ADD, map(_count_row, entries.counts))
    connection.executemany(_DESCRIBE, map(_target_row, entries.targets))


def _count_row(entry: UsageCount) -> tuple[bytes, int, int]:
    return _encode(entry.key), entry.count, entry.timestamp


def _target_row(entry: UsageTarget) -> tuple[str, str, bytes]:
    return entry.environment, entry.identifier, _encode(entry)


def _registration_row(registration: Registration) -> tuple[str, str, bytes]:
    return registration.environment, registration.target.identifier, encode_target(registration.target)


def _read_usage(connection: sqlite3.Connection) -> tuple[list[UsageCount], list[UsageTarget], int]:
    """Counts, targets, and how many rows cannot be read."""
    counts: list[UsageCount] = []
    targets: list[UsageTarget] = []
    lost = 0
    for key, count, timestamp in connection.execute("SELECT key, count, timestamp FROM usage_counts"):
        try:
            counts.append(UsageCount(msgspec.json.decode(key, type=UsageKey), count, timestamp))
        except _UNREADABLE:
            lost += 1
    for (target,) in connection.execute("SELECT target FROM usage_targets"):
        try:
            targets.append(msgspec.json.decode(target, type=UsageTarget))
        except _UNREADABLE:
            lost += 1
    return counts, targets, lost


def _read_registrations(connection: sqlite3.Connection) -> tuple[list[Registration], int]:
    """Registrations, and how many rows cannot be read; rows are rewritten in the current form."""
    rows = connection.execute("SELECT environment, target FROM registrations ORDER BY seq").fetchall()
    found = [(EnvironmentId(environment), read_row(target)) for environment, target in rows]
    registrations = [Registration(environment, row.target) for environment, row in found if row is not None]
    _write_registrations(connection, registrations)
    return registrations, len(rows) - len(registrations)


def _write_registrations(connection: sqlite3.Connection, registrations: Iterable[Registration]) -> None:
    connection.executemany(
        "INSERT INTO registrations (environment, identifier, target) VALUES (?, ?, ?)"
        " ON CONFLICT (environment, identifier) DO UPDATE SET target = excluded.target",
        map(_registration_row, registrations),
    )
