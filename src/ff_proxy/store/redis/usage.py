"""Usage on its way to SaaS, in Redis: any member adds, one takes."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import uuid4

import msgspec

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.store.protocol import UsageLease
from ff_proxy.store.redis import scripts
from ff_proxy.store.redis.connection import Argument, Connection
from ff_proxy.store.redis.keys import Keys

_encode: Final = msgspec.json.Encoder().encode
# A batch whose sender died is sent again after so many seconds: longer than any post may take.
COMEBACK: Final = 120


class RedisUsageQueue:
    """At most ``capacity`` entries per environment, leased ones included."""

    def __init__(self, connection: Connection, keys: Keys, capacity: int) -> None:
        self._connection = connection
        self._keys = keys
        self._capacity = capacity

    async def merge(self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget]) -> int:
        """See ``UsageQueue``."""
        environments = {entry.key.environment for entry in counts} | {entry.environment for entry in targets}
        dropped = 0
        for environment in sorted(environments):
            own = [entry for entry in counts if entry.key.environment == environment]
            arguments: list[Argument] = [self._prefix(environment), self._capacity, len(own)]
            for entry in own:
                arguments += (_encode(entry.key), str(entry.count), str(entry.timestamp))
            for target in targets:
                if target.environment == environment:
                    arguments += (target.identifier.encode("utf-8", "surrogatepass"), _encode(target))
            await self._connection.do("SADD", self._keys.queues, environment)
            dropped += await self._connection.run(scripts.MERGE_USAGE, self._of(environment), arguments)
        return dropped

    async def pending(self) -> Mapping[EnvironmentId, int]:
        """See ``UsageQueue``."""
        members = await self._connection.do("SMEMBERS", self._keys.queues)
        waiting = {}
        for environment in (EnvironmentId(member.decode()) for member in members):
            entries = await self._connection.run(
                scripts.COUNT_USAGE, self._of(environment), [self._prefix(environment)]
            )
            if entries:
                waiting[environment] = entries
        return waiting

    async def take(self, environment: EnvironmentId, limit: int) -> UsageLease | None:
        """See ``UsageQueue``: a lease that is not settled comes back after ``COMEBACK`` seconds."""
        lease = uuid4().hex
        keys = [*self._of(environment), self._keys.usage_lease(environment, lease)]
        arguments: list[Argument] = [self._prefix(environment), lease, limit, COMEBACK]
        entries = await self._connection.run(scripts.TAKE_USAGE, keys, arguments)
        counts = []
        targets = []
        for field, entry in zip(entries[::2], entries[1::2], strict=True):
            if field.startswith(b"c"):
                count, timestamp = entry.split(b"|")
                counts.append(
                    UsageCount(msgspec.json.decode(field[1:], type=UsageKey), int(count), int(timestamp))
                )
            else:
                targets.append(msgspec.json.decode(entry, type=UsageTarget))
        return UsageLease(lease, environment, tuple(counts), tuple(targets)) if entries else None

    async def acknowledge(self, lease: UsageLease) -> None:
        """See ``UsageQueue``."""
        await self._settle(lease, arrived=True)

    async def release(self, lease: UsageLease) -> None:
        """See ``UsageQueue``."""
        await self._settle(lease, arrived=False)

    async def _settle(self, lease: UsageLease, *, arrived: bool) -> None:
        keys = [*self._of(lease.environment), self._keys.usage_lease(lease.environment, lease.id)]
        await self._connection.run(scripts.SETTLE_USAGE, keys, [lease.id, "1" if arrived else "0"])

    def _of(self, environment: EnvironmentId) -> list[str]:
        return [
            self._keys.usage_counts(environment),
            self._keys.usage_targets(environment),
            self._keys.usage_leases(environment),
        ]

    def _prefix(self, environment: EnvironmentId) -> str:
        return self._keys.usage_lease(environment, "")
