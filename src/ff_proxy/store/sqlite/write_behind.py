"""Writing to the file what memory holds already, and catching up after the file could not be written."""

import sqlite3
from collections.abc import Callable

from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.sqlite.database import Database
from ff_proxy.telemetry import OnceLog

Work = Callable[[sqlite3.Connection], object]

_TROUBLE = "data directory not writable, going on from memory"


class WriteBehind:
    """The file's copy of one part of the store.

    A write that fails is not an error to whoever wrote: memory serves on, trouble is said once, and the
    next write is the work that ``rewrite`` makes of what memory holds then: the whole part anew.
    """

    def __init__(self, database: Database, once: OnceLog, rewrite: Callable[[], Work]) -> None:
        self._database = database
        self._once = once
        self._rewrite = rewrite
        self._behind = False

    async def write(self, work: Work) -> None:
        """Make ``work`` durable; if an earlier write failed, everything anew after it."""
        try:
            await self._database.run(self._rewrite() if self._behind else work)
        except StoreUnavailable as error:
            self._behind = True
            self._once.warning(_TROUBLE, error=str(error))
        else:
            if self._behind:
                self._behind = False
                self._once.forget(_TROUBLE)
