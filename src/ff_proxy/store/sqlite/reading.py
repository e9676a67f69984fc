"""Reading a data directory that another process uses, without locking or changing anything."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ff_proxy.aio.border import described
from ff_proxy.errors import StoreUnavailable, StoreUnusable
from ff_proxy.model.environment import EnvironmentConfig
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.sqlite.configs import read_environments
from ff_proxy.store.sqlite.database import database_file
from ff_proxy.store.sqlite.schema import check
from ff_proxy.wire.stored import read_row

_BUSY_SECONDS: Final = 5.0


def stored_environments(directory: Path) -> list[EnvironmentConfig]:
    """Every environment in the data directory.

    Raises:
        StoreUnavailable: it has no store, or cannot be read.
        StoreUnusable: it is damaged, foreign, or of a newer version.
    """
    with _opened(directory) as connection:
        return read_environments(connection)


def stored_target(directory: Path, environment: EnvironmentId, identifier: str) -> Target | None:
    """A stored target; raises like ``stored_environments``."""
    with _opened(directory) as connection:
        found = connection.execute(
            "SELECT target FROM targets WHERE environment = ? AND identifier = ?", (environment, identifier)
        ).fetchone()
    row = None if found is None else read_row(found[0])
    return None if row is None else row.target


def check_stored(directory: Path) -> int:
    """The number of stored environments, after a quick check of the file; raises as above."""
    with _opened(directory) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StoreUnusable(
                f"{database_file(directory)} is damaged ({verdict}): move it away to begin with an empty "
                "store, or put a backup in its place"
            )
        (count,) = connection.execute("SELECT count(*) FROM environments").fetchone()
    return int(count)


@contextmanager
def _opened(directory: Path) -> Iterator[sqlite3.Connection]:
    path = database_file(directory)
    if not path.is_file():
        raise StoreUnavailable(f"there is no {path.name} in {directory}: is that the data-dir of a proxy?")
    # Without a WAL file no process has it open, so it can be read from a read-only volume.
    alone = not path.with_name(f"{path.name}-wal").exists()
    address = f"file:{quote(str(path))}?{'immutable=1' if alone else 'mode=ro'}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
            check(connection, str(path))
            yield connection
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"{path} cannot be read: {described(error)}") from error
    except sqlite3.DatabaseError as error:
        raise StoreUnusable(
            f"{path} is damaged ({error}): move it away to begin with an empty store, "
            "or put a backup in its place"
        ) from error
