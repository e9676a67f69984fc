"""Write-behind: writing memory's content to the file, and catching up after failures."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from ff_proxy.errors import StoreError, StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.sqlite.database import Database
from ff_proxy.telemetry import Telemetry

Work = Callable[[sqlite3.Connection], object]

_CANNOT_WRITE: Final = "data directory not writable, continuing from memory"
# Retry soon, and at least this often: what is not in the file is lost with the process.
_FIRST_SECONDS: Final = 0.5
_MAX_SECONDS: Final = 5.0
# The timeout of the last try when the process ends.
_LAST_SECONDS: Final = 2.0


class Part(Protocol):
    """One part of the store, in memory and in the file."""

    @property
    def behind(self) -> bool:
        """Whether the file is behind."""
        ...

    async def catch_up(self) -> None:
        """Write what is missing in the file; raises ``StoreError``."""
        ...


class FileRecovery:
    """The service that catches up as soon as the file can be written again.

    Otherwise the file would stay behind until the next change, which may take hours.
    """

    name = "SQLite writer"

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self.ready = asyncio.Event()
        self._clock = clock
        self._once = telemetry.once("store")
        self._log = telemetry.logger("store")
        self._parts: list[Part] = []
        self._behind = asyncio.Event()
        self._trouble = ""

    def add(self, part: Part) -> None:
        """Include ``part``."""
        self._parts.append(part)

    def failed(self, error: StoreError) -> None:
        """The file could not be written: log that once, and retry."""
        self._trouble = str(error)
        self._once.warning(_CANNOT_WRITE, error=self._trouble)
        self._behind.set()

    def interrupted(self) -> None:
        """A write was cancelled, perhaps before it began."""
        self._behind.set()

    def written(self) -> None:
        """Something was written: if no part is behind any more, log that."""
        if any(part.behind for part in self._parts):
            return
        self._behind.clear()
        if self._trouble:
            self._trouble = ""
            self._once.forget(_CANNOT_WRITE)
            self._log.info("data directory can be written again, the file is up to date")

    async def run(self) -> None:
        """Catch up when necessary, until cancelled."""
        self.ready.set()
        while True:
            await self._behind.wait()
            pause = _FIRST_SECONDS
            while self._behind.is_set():
                await self._clock.sleep(pause)
                pause = min(2 * pause, _MAX_SECONDS)
                await self.catch_up()

    async def catch_up(self) -> None:
        """Try once to write everything that is missing in the file."""
        for part in self._parts:
            if part.behind:
                try:
                    await part.catch_up()
                except StoreError as error:
                    self.failed(error)
                    return
        self.written()

    async def finish(self) -> None:
        """Try a last time, with a timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self.catch_up()

    def merge_into(self, readiness: Readiness) -> Readiness:
        """``readiness``, degraded while the file is behind."""
        if not self._trouble:
            return readiness
        return readiness.with_degraded(
            f"changes are only in memory, data-dir cannot be written: {self._trouble}"
        )


class WriteBehind:
    """Writes one part of the store to the file.

    A failed write is not an error for the caller: memory serves on, and the next write uses ``rewrite``,
    which writes the whole part. So does the next write after one that was cancelled.
    """

    def __init__(self, database: Database, recovery: FileRecovery, rewrite: Callable[[], Work]) -> None:
        self._database = database
        self._recovery = recovery
        self._rewrite = rewrite
        self._missing = 0
        self._caught_up = 0
        recovery.add(self)

    @property
    def behind(self) -> bool:
        """See ``Part``."""
        return self._missing != self._caught_up

    async def write(self, work: Work) -> None:
        """Make ``work`` durable; after an earlier failure, write the whole part."""
        try:
            await (self.catch_up() if self.behind else self._database.run(work))
        except StoreUnavailable as error:
            self._missing += 1
            self._recovery.failed(error)
        except asyncio.CancelledError:
            self._missing += 1
            self._recovery.interrupted()
            raise

    async def catch_up(self) -> None:
        """See ``Part``."""
        missing = self._missing
        await self._database.run(self._rewrite())
        self._caught_up = missing
        self._recovery.written()
