"""The whole adapter."""

import sqlite3
from pathlib import Path
from typing import Final, Self

from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import Secret
from ff_proxy.model.memory import LEAST_SHARES, MemoryShares
from ff_proxy.store.sqlite.configs import SqliteConfigs
from ff_proxy.store.sqlite.database import FILE_PREFIX, Database
from ff_proxy.store.sqlite.queues import SqliteRegistrations, SqliteUsageQueue
from ff_proxy.store.sqlite.targets import SqliteTargets
from ff_proxy.store.sqlite.write_behind import FileRecovery
from ff_proxy.telemetry import Telemetry

_TARGET_BYTES: Final = 1024 * 1024 * 1024


class SqliteSecrets:
    """The signing secret, made once per file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def auth_secret(self, candidate: Secret) -> Secret:
        """See ``SecretStore``."""

        def settle(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT OR IGNORE INTO secrets VALUES ('auth', ?)", (candidate.reveal(),))
            secret: str = connection.execute("SELECT secret FROM secrets WHERE name = 'auth'").fetchone()[0]
            return secret

        return Secret(await self._database.load(settle))


class SqliteStore:
    """A store in ``directory``, opened by ``async with`` and locked for this process.

    Args:
        directory: the data directory; created if it does not exist.
        epoch: identifies this opening of the store; random in production.
        clock: for the times of changes.
        telemetry: for a directory that cannot be written.
        name: the files' base name; modes that must not share data have different ones.
        target_bytes: bytes for targets in the file, over all environments.
        shares: bytes for each kind in memory: recently used targets, and unfinished queue entries.

    Raises on entry:
        StartupError: the directory cannot be written, or another process uses it.
        StoreUnusable: the file is damaged, foreign, or of a newer version.
    """

    def __init__(
        self,
        directory: Path,
        epoch: str,
        clock: Clock,
        telemetry: Telemetry,
        *,
        name: str = FILE_PREFIX,
        target_bytes: int = _TARGET_BYTES,
        shares: MemoryShares = LEAST_SHARES,
    ) -> None:
        once = telemetry.once("store")
        self._database = Database(directory, name, once, telemetry.metrics.store_up.set)
        self.recovery = recovery = FileRecovery(clock, telemetry)
        self.configs = SqliteConfigs(self._database, epoch, clock, recovery)
        self.targets = SqliteTargets(
            self._database, target_bytes, shares, clock, recovery, once, telemetry.dropped
        )
        self.usage = SqliteUsageQueue(self._database, shares.usage_queue, recovery, once)
        self.registrations = SqliteRegistrations(self._database, shares.registrations, recovery, once)
        self.secrets = SqliteSecrets(self._database)

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        try:
            for part in (self.configs, self.targets, self.usage, self.registrations):
                await part.load()
        except BaseException:
            await self._database.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.recovery.finish()
        await self._database.__aexit__()
