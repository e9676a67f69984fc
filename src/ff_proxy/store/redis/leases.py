"""Leases: which member follows Harness for an environment (spec/behaviour#lease)."""

import asyncio
from typing import Final

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.redis import scripts
from ff_proxy.store.redis.connection import Argument, Connection
from ff_proxy.store.redis.keys import Keys

SECONDS: Final = 6.0
"""How long a lease lasts without renewal: a dead holder is replaced within this time."""

ANSWER_SECONDS: Final = 1.0
"""The timeout of a call: a holder without an answer must stop before its lease expires."""


class Leases:
    """Acquires, renews and releases leases for ``member``, and knows their fencing numbers.

    Without a name nothing is fenced, and there must be no other writer.
    """

    def __init__(self, connection: Connection, keys: Keys, member: str) -> None:
        self._connection = connection
        self._keys = keys
        self.member: Final = member
        self._fences: dict[EnvironmentId, int] = {}
        self._highest: dict[EnvironmentId, int] = {}
        self._left: dict[EnvironmentId, float] = {}

    def fence(self, environment: EnvironmentId) -> int | None:
        """The fencing number of this member's lease, 0 if nothing is fenced."""
        return self._fences.get(environment) if self.member else 0

    def leads(self, environment: EnvironmentId) -> bool:
        """Whether this member believes it holds the environment's lease."""
        return self.fence(environment) is not None

    def highest_fence(self, environment: EnvironmentId) -> int:
        """The highest fencing number that this member has seen, which Redis may have lost; 0 if none."""
        return self._highest.get(environment, 0)

    def note_fence(self, environment: EnvironmentId, fence: int) -> None:
        """Note that something was written under ``fence``."""
        if fence > self.highest_fence(environment):
            self._highest[environment] = fence

    def seconds_left(self, environment: EnvironmentId) -> float:
        """Seconds for which another member held the lease at the last attempt to acquire it."""
        return self._left.get(environment, 0.0)

    async def acquire(self, environment: EnvironmentId) -> bool:
        """Acquire or renew; returns whether this member holds the lease.

        Raises ``StoreUnavailable`` after ``ANSWER_SECONDS`` at the latest.
        """
        arguments: list[Argument] = [self.member, round(SECONDS * 1000), str(self.highest_fence(environment))]
        keys = [self._keys.lease(environment), self._keys.config(environment)]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._connection.run(scripts.ACQUIRE_LEASE, keys, arguments)
        except TimeoutError as error:
            raise StoreUnavailable("Redis: no answer in time", reported=True) from error
        if isinstance(answer, int):
            self._fences.pop(environment, None)
            self._left[environment] = max(answer, 0) / 1000
            return False
        self._fences[environment] = int(answer)
        self.note_fence(environment, int(answer))
        return True

    def forget(self, environment: EnvironmentId) -> None:
        """Stop counting on the lease: Redis did not confirm it in time."""
        self._fences.pop(environment, None)

    async def release(self, environment: EnvironmentId) -> None:
        """Release the lease and notify all members."""
        self._fences.pop(environment, None)
        arguments: list[Argument] = [self.member, self._keys.bus, environment]
        await self._connection.run(scripts.RELEASE_LEASE, [self._keys.lease(environment)], arguments)
