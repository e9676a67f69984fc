"""Writing to the file what memory holds already, and catching up after the file could not be written."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from ff_proxy.errors import StoreError, StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.sqlite.database import Database
from ff_proxy.telemetry import Telemetry

Work = Callable[[sqlite3.Connection], object]

_TROUBLE: Final = "data directory not writable, going on from memory"
# A disk is asked again soon, and never less often than this: what is not in the file dies with the process.
_FIRST_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 5.0
# How long the last try may take, when the process ends.
_LAST_SECONDS: Final = 2.0


class Part(Protocol):
    """One part of the store, kept in memory and in the file."""

    @property
    def behind(self) -> bool:
        """Whether the file lacks something."""
        ...

    async def catch_up(self) -> None:
        """Write what the file lacks; raises ``StoreError``."""
        ...


class FileRecovery:
    """The service that brings the file up to date as soon as it can be written again.

    Nobody else may come by for hours: the next change is when somebody makes one.
    """

    name = "file"

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        self.ready = asyncio.Event()
        self._clock = clock
        self._once = telemetry.once("store")
        self._log = telemetry.logger("store")
        self._parts: list[Part] = []
        self._behind = asyncio.Event()
        self._trouble = ""

    def add(self, part: Part) -> None:
        """Look after ``part``."""
        self._parts.append(part)

    def failed(self, error: StoreError) -> None:
        """The file could not be written: that is said once, and tried again."""
        self._trouble = str(error)
        self._once.warning(_TROUBLE, error=self._trouble)
        self._behind.set()

    def written(self) -> None:
        """Something was written: if nothing is behind any more, that is said."""
        if self._trouble and not any(part.behind for part in self._parts):
            self._trouble = ""
            self._behind.clear()
            self._once.forget(_TROUBLE)
            self._log.info("data directory can be written again, the file is up to date")

    async def run(self) -> None:
        """Catch up whenever that is needed, until cancelled."""
        self.ready.set()
        while True:
            await self._behind.wait()
            pause = _FIRST_SECONDS
            while self._behind.is_set():
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_SECONDS)
                await self.catch_up()

    async def catch_up(self) -> None:
        """Try once to write everything that the file lacks."""
        for part in self._parts:
            if part.behind:
                try:
                    await part.catch_up()
                except StoreError as error:
                    self.failed(error)
                    return
        self.written()

    async def finish(self) -> None:
        """Try a last time; bounded."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self.catch_up()

    def merge_into(self, readiness: Readiness) -> Readiness:
        """``readiness``, degraded while the file is behind."""
        if not self._trouble:
            return readiness
        reason = f"changes are kept in memory only, data-dir cannot be written: {self._trouble}"
        return msgspec.structs.replace(readiness, degraded=(*readiness.degraded, reason))


class WriteBehind:
    """The file's copy of one part of the store.

    A write that fails is not an error to whoever wrote: memory serves on, and the next write is the work that
    ``rewrite`` makes of what memory holds then: the whole part anew.
    """

    def __init__(self, database: Database, recovery: FileRecovery, rewrite: Callable[[], Work]) -> None:
        self._database = database
        self._recovery = recovery
        self._rewrite = rewrite
        self.behind = False
        recovery.add(self)

    async def write(self, work: Work) -> None:
        """Make ``work`` durable; if an earlier write failed, everything anew after it."""
        try:
            await (self.catch_up() if self.behind else self._database.run(work))
        except StoreUnavailable as error:
            self.behind = True
            self._recovery.failed(error)

    async def catch_up(self) -> None:
        """See ``Part``."""
        await self._database.run(self._rewrite())
        self.behind = False
        self._recovery.written()
