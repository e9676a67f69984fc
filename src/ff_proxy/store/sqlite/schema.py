"""The file's layout and its version."""

import re
import sqlite3
from typing import Final

from ff_proxy.errors import StoreUnusable

APPLICATION: Final = 0x66667078  # "ffpx": identifies our files
VERSION: Final = 1

_TABLES: Final = """
CREATE TABLE environments (
    id TEXT PRIMARY KEY,
    info BLOB NOT NULL,      -- EnvironmentInfo as JSON
    keys BLOB NOT NULL,      -- JSON array of key hashes
    since REAL NOT NULL      -- wall-clock seconds when it was first taken in
) WITHOUT ROWID;
CREATE TABLE items (
    environment TEXT NOT NULL,
    domain TEXT NOT NULL,
    identifier TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    wire BLOB,               -- NULL: the item is gone, its version is remembered
    changed REAL NOT NULL,   -- wall-clock seconds; 0 for what came with the environment
    PRIMARY KEY (environment, domain, identifier)
) WITHOUT ROWID;
CREATE TABLE targets (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    identifier TEXT NOT NULL,
    target BLOB NOT NULL,
    UNIQUE (environment, identifier)
);
CREATE TABLE usage_counts (
    key BLOB PRIMARY KEY,    -- UsageKey as JSON
    count INTEGER NOT NULL,
    timestamp INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE usage_targets (
    environment TEXT NOT NULL,
    identifier TEXT NOT NULL,
    target BLOB NOT NULL,
    PRIMARY KEY (environment, identifier)
) WITHOUT ROWID;
CREATE TABLE registrations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    identifier TEXT NOT NULL,
    target BLOB NOT NULL,
    UNIQUE (environment, identifier)
);
CREATE TABLE secrets (name TEXT PRIMARY KEY, secret TEXT NOT NULL) WITHOUT ROWID;
"""
_NAMES: Final = frozenset(re.findall(r"CREATE TABLE (\w+)", _TABLES))


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Initialise a new file; refuse a file that this version cannot read.

    Raises:
        StoreUnusable: a foreign file, one of a newer ff-proxy, or an incomplete one.
    """
    if not _tables(connection):
        marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
        connection.executescript(f"BEGIN; {marks} {_TABLES} COMMIT;")
        return
    check(connection, path)


def check(connection: sqlite3.Connection, path: str) -> None:
    """Refuse a file that this version cannot read; raises like ``prepare``."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise StoreUnusable(
            f"{path} is not a file of ff-proxy: choose another data-dir or move the file away"
        )
    if version > VERSION:
        raise StoreUnusable(
            f"{path} was written by a newer ff-proxy (layout {version}, this one reads {VERSION}): "
            "start that version again, or move the file away to start with an empty store"
        )
    missing = _NAMES - _tables(connection)
    if missing:
        raise StoreUnusable(
            f"{path} lacks the tables {', '.join(sorted(missing))}: put a backup in its place, "
            "or move the file away to start with an empty store"
        )


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
