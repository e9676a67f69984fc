"""The store in memory: the default, and the reference for every other adapter."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Self

import msgspec

from ff_proxy.bounded import BoundedMap
from ff_proxy.model.clock import Clock, milliseconds
from ff_proxy.model.environment import EnvironmentConfig, RecentChange, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.memory import LEAST_SHARES, MemoryShares
from ff_proxy.model.target import Target
from ff_proxy.store.change_feed import Feed
from ff_proxy.store.memory.queues import MemoryRegistrations, MemoryUsageQueue
from ff_proxy.store.merge import apply_edit, merge, merge_target
from ff_proxy.store.protocol import Edit, Notice, Unknown
from ff_proxy.wire.stored import DescribedTarget


class MemoryConfigs:
    """Environments in a dictionary; ``epoch`` identifies this run of the process."""

    def __init__(self, epoch: str, clock: Clock) -> None:
        self._epoch = epoch
        self._clock = clock
        self._counter = 0
        self._environments: dict[EnvironmentId, EnvironmentConfig] = {}
        self._statuses: dict[EnvironmentId, UpstreamStatus] = {}
        self._feed = Feed()

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``."""
        return {name: config.revision for name, config in self._environments.items()}

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        return self._environments.get(environment)

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``: nothing here is older than the process."""
        del environment, since
        return ()

    async def replace(self, config: EnvironmentConfig) -> Revision:
        """See ``ConfigWriter``."""
        old = self._environments.get(config.id)
        return self._commit(old, merge(old, config))

    async def apply(self, environment: EnvironmentId, edit: Edit) -> Revision | None:
        """See ``ConfigWriter``."""
        old = self._environments.get(environment)
        return None if old is None else self._commit(old, apply_edit(old, edit))

    async def remove(self, environment: EnvironmentId) -> None:
        """See ``ConfigWriter``."""
        self._statuses.pop(environment, None)
        if self._environments.pop(environment, None) is not None:
            self._feed.publish(Notice(environment, None))

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``."""
        return self._feed.watch()

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """See ``StatusStore``."""
        self._statuses[environment] = status

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusStore``."""
        return dict(self._statuses)

    def _commit(self, old: EnvironmentConfig | None, new: EnvironmentConfig) -> Revision:
        if new is old:
            return new.revision
        config = self._revised(old, new)
        self._show(config)
        return config.revision

    def _revised(self, old: EnvironmentConfig | None, new: EnvironmentConfig) -> EnvironmentConfig:
        """``new`` as the successor of ``old``."""
        self._counter += 1
        since = self._clock.wall() if old is None else old.since
        return msgspec.structs.replace(new, revision=Revision(self._epoch, self._counter), since=since)

    def _show(self, config: EnvironmentConfig) -> None:
        """Let readers see ``config``, and notify them."""
        self._environments[config.id] = config
        self._feed.publish(Notice(config.id, config.revision))


class MemoryTargets:
    """Targets of at most ``budget`` bytes; evicts the least recently used."""

    def __init__(
        self,
        clock: Clock,
        budget: int = LEAST_SHARES.targets,
        dropped: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._targets: BoundedMap[tuple[EnvironmentId, str], DescribedTarget] = BoundedMap(
            budget, dropped=dropped
        )

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``; never ``UNKNOWN`` here."""
        held = self._targets.get((environment, identifier))
        return None if held is None else held.target

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``."""
        held = self._targets.get((environment, identifier))
        return None if held is None else held.target

    async def put(
        self,
        environment: EnvironmentId,
        target: Target,
        *,
        keep_attributes: bool = False,
        described_at: int | None = None,
    ) -> None:
        """See ``TargetStore``."""
        key = (environment, target.identifier)
        held = self._targets.get(key)
        described = merge_target(
            held,
            target,
            milliseconds(self._clock),
            keep_attributes=keep_attributes,
            described_at=described_at,
        )
        if described is not held:
            self._targets.put(key, described)

    async def put_many(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """See ``TargetStore``."""
        for target in targets:
            await self.put(environment, target)

    async def every(self, environment: EnvironmentId) -> Sequence[Target]:
        """See ``TargetStore``."""
        return [held.target for (of, _), held in self._targets.items() if of == environment]


class MemorySecrets:
    """The secret of this process only."""

    def __init__(self) -> None:
        self._secret: Secret | None = None

    async def auth_secret(self, candidate: Secret) -> Secret:
        """See ``SecretStore``."""
        if self._secret is None:
            self._secret = candidate
        return self._secret


class MemoryStore:
    """The whole adapter.

    Args:
        epoch: identifies this run of the process; random in production.
        clock: for the time at which an environment was first stored.
        shares: bytes for targets, usage and registrations, over all environments.
        dropped: counters of dropped entries.
    """

    def __init__(
        self,
        epoch: str,
        clock: Clock,
        *,
        shares: MemoryShares = LEAST_SHARES,
        dropped: Callable[[str], Callable[[int], object]] = lambda _: lambda _: None,
    ) -> None:
        self.configs = MemoryConfigs(epoch, clock)
        self.targets = MemoryTargets(clock, shares.targets, dropped("targets"))
        self.usage = MemoryUsageQueue(shares.usage_queue)
        self.registrations = MemoryRegistrations(shares.registrations)
        self.secrets = MemorySecrets()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None
