"""Upstream statuses in Redis: the leader's report, valid during its lease."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.redis import rows, scripts
from ff_proxy.store.redis.connection import Command, Connection
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.leases import Leases
from ff_proxy.store.redis.replicated_set import ReplicatedSet

_encode: Final = msgspec.json.Encoder().encode


class RedisStatuses:
    """Statuses, stored with their environments; written again when Redis may have lost them.

    Args:
        leases: as for ``RedisConfigs``.
    """

    def __init__(self, connection: Connection, keys: Keys, leases: Leases) -> None:
        self._connection = connection
        self._keys = keys
        self._leases = leases
        self._listed = ReplicatedSet(connection, keys.environments)
        self._reported: dict[EnvironmentId, UpstreamStatus] = {}
        self._written_fences: dict[EnvironmentId, int] = {}
        self._last_read: dict[EnvironmentId, UpstreamStatus] = {}

    async def set(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """See ``StatusStore.set_status``; ignored unless this member leads the environment."""
        fence = self._leases.fence(environment)
        if fence is None:
            return
        self._reported[environment] = status
        self._written_fences.pop(environment, None)
        await self._report(environment, fence)

    async def all(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusStore.statuses``; a report counts as long as its lease lasts."""
        names = await self._listed.environments()
        questions: list[Command] = []
        for name in names:
            questions.append(("HMGET", self._keys.config(name), "status", "reporter"))
            questions.append(("GET", self._keys.lease(name)))
        found = await self._connection.settle_each(questions)
        statuses = {}
        for name, reported, lease in zip(names, found[::2], found[1::2], strict=True):
            try:
                with translated():
                    for answer in (reported, lease):
                        if isinstance(answer, StoreUnavailable):
                            raise answer
                    if reported[0] is not None:
                        statuses[name] = self._last_read[name] = rows.status(
                            reported[0], int(reported[1] or 0), lease
                        )
            except StoreUnavailable as error:
                seen = self._last_read.get(name, UpstreamStatus())
                statuses[name] = UpstreamStatus(
                    since=seen.since, trouble=f"served from memory: {error}", confirmed=seen.confirmed
                )
        return statuses

    async def rewrite_missing(self, known: Collection[EnvironmentId]) -> None:
        """Write the statuses that Redis lacks under the current lease, after it was away or emptied.

        ``known`` are the environments that Redis has.
        """
        for environment in list(self._reported):
            if environment not in known:
                self.note_lost(environment)
            fence = self._leases.fence(environment)
            if fence is not None and self._written_fences.get(environment) != fence:
                with suppress(StoreUnavailable):  # retried next time
                    await self._report(environment, fence)

    def note_lost(self, environment: EnvironmentId) -> None:
        """Redis does not have the environment's status any more."""
        self._written_fences.pop(environment, None)

    def forget(self, environment: EnvironmentId) -> None:
        """The environment was removed."""
        self._reported.pop(environment, None)
        self._written_fences.pop(environment, None)
        self._last_read.pop(environment, None)

    async def _report(self, environment: EnvironmentId, fence: int) -> None:
        status = self._reported[environment]
        await self._listed.add(environment)
        taken = await self._connection.run(
            scripts.REPORT,
            [self._keys.config(environment), self._keys.lease(environment)],
            [self._leases.member, fence, _encode(status)],
        )
        if taken and self._reported.get(environment) is status:
            self._written_fences[environment] = fence
