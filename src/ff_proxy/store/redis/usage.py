"""Usage on its way to Harness, in Redis: any member adds, the leader takes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.store.protocol import UsageLease
from ff_proxy.store.redis import queue_scripts
from ff_proxy.store.redis.connection import Argument, Call, Connection, Script
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys, encoded
from ff_proxy.store.redis.replicated_set import ReplicatedSet
from ff_proxy.telemetry import OnceLog

_encode: Final = msgspec.json.Encoder().encode
_UNREADABLE: Final = (ValueError, TypeError, RecursionError)
_LOST: Final = "usage in Redis cannot be read and is dropped"
# The lease of a member that died expires after this: longer than any post may take.
_LEASE_SECONDS: Final = 120
# How long the name of a merge is remembered.
_REMEMBERED: Final = 600


class RedisUsageQueue:
    """At most about ``budget`` bytes per environment, leased entries included.

    While Redis is nearly full, new entries are dropped. A merge that gets no answer is sent once more under
    the same name, and counts once. If that gets no answer either, ``merge`` raises, and the caller retries
    under that name.
    """

    def __init__(self, connection: Connection, keys: Keys, budget: int, once: OnceLog) -> None:
        self._connection = connection
        self._once = once
        self._keys = keys
        self._queues = ReplicatedSet(connection, keys.queues)
        self._budget = budget

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        """See ``UsageQueue``."""
        if not counts and not targets:
            return 0
        environment = counts[0].key.environment if counts else targets[0].environment
        await self._queues.add(environment)
        keys = [*self._queue_keys(environment), self._keys.usage_merged(environment)]
        arguments: list[Argument] = [
            self._lease_prefix(environment),
            self._budget,
            name or uuid4().hex,
            _REMEMBERED,
            len(counts),
            *_entries(counts, targets),
        ]
        dropped: int = await self._run(queue_scripts.MERGE_USAGE, keys, arguments)
        return dropped

    async def pending(self) -> Mapping[EnvironmentId, int]:
        """See ``UsageQueue``."""
        names = await self._queues.environments()
        waiting = await self._connection.settle_each(
            [
                Call(queue_scripts.COUNT_USAGE, self._queue_keys(name)[:3], [self._lease_prefix(name)])
                for name in names
            ]
        )
        return {
            name: entries
            for name, entries in zip(names, waiting, strict=True)
            if entries and not isinstance(entries, StoreUnavailable)
        }

    async def take(self, environment: EnvironmentId, limit: int) -> UsageLease | None:
        """See ``UsageQueue``: a lease that is not settled expires after ``_LEASE_SECONDS``."""
        while True:
            name = uuid4().hex
            keys = [*self._queue_keys(environment), self._keys.usage_lease(environment, name)]
            arguments: list[Argument] = [self._lease_prefix(environment), name, limit, _LEASE_SECONDS]
            entries = await self._run(queue_scripts.TAKE_USAGE, keys, arguments)
            if not entries:
                return None
            lease = self._lease(name, environment, entries)
            if lease.counts or lease.targets:
                return lease
            # Nothing in it is readable: it would be taken again without end.
            await self.settle(lease)

    def _lease(self, name: str, environment: EnvironmentId, entries: Sequence[bytes]) -> UsageLease:
        counts = []
        targets = []
        with translated():
            for field, entry in zip(entries[::2], entries[1::2], strict=True):
                if field.startswith(b"c"):
                    with suppress(*_UNREADABLE):
                        counts.append(_count(field[1:], entry))
                else:
                    with suppress(*_UNREADABLE):
                        targets.append(msgspec.json.decode(entry, type=UsageTarget))
        lost = len(entries) // 2 - len(counts) - len(targets)
        if lost:
            # They stay in the lease and are deleted with it.
            self._once.warning(_LOST, environment, entries=lost)
        return UsageLease(tuple(counts), tuple(targets), name, environment)

    async def settle(
        self, lease: UsageLease, counts: Sequence[UsageCount] = (), targets: Sequence[UsageTarget] = ()
    ) -> None:
        """See ``UsageQueue``."""
        keys = [*self._queue_keys(lease.environment), self._keys.usage_lease(lease.environment, lease.id)]
        arguments: list[Argument] = [self._lease_prefix(lease.environment), lease.id, len(counts)]
        await self._run(queue_scripts.SETTLE_USAGE, keys, [*arguments, *_entries(counts, targets)])

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        with suppress(StoreUnavailable):
            return await self._connection.run(script, keys, arguments)
        return await self._connection.run(script, keys, arguments)

    def _queue_keys(self, environment: EnvironmentId) -> list[str]:
        return [
            self._keys.usage_counts(environment),
            self._keys.usage_targets(environment),
            self._keys.usage_leases(environment),
            self._keys.usage_bytes(environment),
        ]

    def _lease_prefix(self, environment: EnvironmentId) -> str:
        return self._keys.usage_lease(environment, "")


def _entries(counts: Sequence[UsageCount], targets: Sequence[UsageTarget]) -> Iterator[Argument]:
    """Field, count and timestamp of each count, then identifier and entry of each target."""
    for entry in counts:
        yield from (_encode(entry.key), str(entry.count), str(entry.timestamp))
    for target in targets:
        yield from (encoded(target.identifier), _encode(target))


def _count(key: bytes, entry: bytes) -> UsageCount:
    count, timestamp = entry.split(b"|")
    return UsageCount(msgspec.json.decode(key, type=UsageKey), int(count), int(timestamp))
