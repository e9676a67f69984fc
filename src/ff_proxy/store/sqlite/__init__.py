"""The store that survives: one SQLite file in the data directory, written by one process.

What is read often stands in memory and the file is its durable copy: a write reaches the file before
anybody is told of it. While the file cannot be written (disk full), the proxy goes on from memory, says
so once, and brings the file up to date when it can. ``modes`` opens it; nobody else names it.
"""

from ff_proxy.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
