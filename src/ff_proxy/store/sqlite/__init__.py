"""The persistent store: one SQLite file in the data directory, written by one process.

Data that is read often is in memory, and the file is its durable copy: a write reaches the file before it is
announced. While the file cannot be written (disk full), the proxy continues from memory, logs that once, and
catches up later. Only ``app`` and ``commands`` may import it.
"""

from ff_proxy.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
