"""A worker reads from Redis, or from the sync process for what that serves without Redis."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ff_proxy.model.environment import EnvironmentConfig, RecentChange, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import ChangeSource, ConfigReader, Notice
from ff_proxy.store.redis.standalone import StandaloneConfigs, watching, with_own


class SyncConfigs(ConfigReader, ChangeSource, Protocol):
    """The sync process's environments."""


class ConfigsBesideSync:
    """A worker's view of environments.

    Args:
        shared: Redis.
        sync: the sync process.
        standalone: the environments that the sync process serves without Redis, as last reported.
    """

    def __init__(
        self,
        shared: StandaloneConfigs,
        sync: SyncConfigs,
        standalone: Callable[[], AbstractSet[EnvironmentId]],
    ) -> None:
        self._shared = shared
        self._sync = sync
        self._standalone = standalone

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``."""
        standalone = self._standalone()
        if not standalone:
            return await self._shared.environments()
        kept = await self._sync.environments()
        own = {name: revision for name, revision in kept.items() if name in standalone}
        return await with_own(self._shared, own)

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        return await self._source(environment).environment(environment)

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``."""
        return await self._source(environment).recent(environment, since)

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusReader``."""
        return await self._shared.statuses()

    async def revision(self, environment: EnvironmentId) -> Revision | None:
        """The environment's revision now."""
        if environment in self._standalone():
            return (await self._sync.environments()).get(environment)
        return await self._shared.revision(environment)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``."""
        return watching(self._sync, self._shared, lambda: bool(self._standalone()))

    def _source(self, environment: EnvironmentId) -> ConfigReader:
        return self._sync if environment in self._standalone() else self._shared
