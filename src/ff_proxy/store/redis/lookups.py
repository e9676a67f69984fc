"""Lookups of environments, in batches."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import Revision
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.redis import rows, scripts
from ff_proxy.store.redis.batch_loader import BatchLoader
from ff_proxy.store.redis.connection import Call, Connection
from ff_proxy.store.redis.keys import Keys

# Environments with hundreds of flags: this many are megabytes, and others wait meanwhile.
_MAX_READS: Final = 32
_MAX_REVISIONS: Final = 256
# A silent connection is given up after this long, so that the next check uses another.
_REVISION_TIMEOUT: Final = 0.5


class Lookups:
    """Lookups in batches, separate for each node of a Cluster; all raise ``StoreUnavailable``.

    An environment that cannot be read does not affect the others.
    """

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._reads = BatchLoader(self._read_many, most=_MAX_READS, group=lambda asked: self._group(asked[0]))
        self._recents = BatchLoader(
            self._recent_many, most=_MAX_READS, group=lambda asked: self._group(asked[0])
        )
        self._revisions = BatchLoader(self._revision_many, most=_MAX_REVISIONS, group=self._group)

    async def close(self) -> None:
        """Stop all lookups."""
        for questions in (self._reads, self._recents, self._revisions):
            await questions.close()

    async def read(self, environment: EnvironmentId, known: Revision) -> list[Any]:
        """The answer of ``scripts.READ`` for the ``known`` revision."""
        return await self._reads.get((environment, known))

    async def recent(self, environment: EnvironmentId, since: float) -> list[bytes]:
        """Fields and rows of the items that changed after ``since``."""
        return await self._recents.get((environment, since))

    async def revision(self, environment: EnvironmentId) -> Revision | None:
        """The revision, or ``None`` if Redis does not have the environment."""
        return await self._revisions.get(environment)

    async def states(
        self, names: Sequence[EnvironmentId]
    ) -> Mapping[EnvironmentId, Revision | StoreUnavailable | None]:
        """The revision of each environment that is complete, or the error that prevents reading it."""
        states = await self._connection.settle_each(
            [Call(scripts.STATE, self.keys_of(name)) for name in names]
        )
        return dict(zip(names, map(rows.revision, states), strict=True))

    def keys_of(self, environment: EnvironmentId) -> list[str]:
        """The keys of an environment's configuration and lease."""
        return [
            self._keys.config(environment),
            self._keys.items(environment),
            self._keys.moved(environment),
            self._keys.recent(environment),
            self._keys.lease(environment),
        ]

    async def _read_many(self, asked: Sequence[tuple[EnvironmentId, Revision]]) -> list[list[Any]]:
        return await self._connection.try_each(
            [Call(scripts.READ, self.keys_of(one), [known.epoch, str(known.counter)]) for one, known in asked]
        )

    async def _recent_many(self, asked: Sequence[tuple[EnvironmentId, float]]) -> list[list[bytes]]:
        keys = self._keys
        return await self._connection.try_each(
            [Call(scripts.RECENT, [keys.items(one), keys.recent(one)], [repr(since)]) for one, since in asked]
        )

    async def _revision_many(
        self, environments: Sequence[EnvironmentId]
    ) -> list[Revision | StoreUnavailable | None]:
        try:
            async with asyncio.timeout(_REVISION_TIMEOUT):
                found = await self._connection.try_each(
                    [("HMGET", self._keys.config(name), "epoch", "counter") for name in environments]
                )
        except TimeoutError as error:
            raise StoreUnavailable("Redis does not answer in time") from error
        return [rows.revision(state) for state in found]

    def _group(self, environment: EnvironmentId) -> str:
        return self._connection.group(self._keys.config(environment))
