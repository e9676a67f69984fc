"""The queues to Harness in memory: usage and target registrations."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from ff_proxy.bounded import BoundedMap, entry_cost
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.store.protocol import Registration, UsageLease
from ff_proxy.store.usage_buffer import UsageBuffer
from ff_proxy.wire.stored import fingerprint

# The part of the registrations' budget for fingerprints of sent ones.
_SENT_PART: Final = 4


class MemoryUsageQueue:
    """A ``UsageBuffer`` as a store's queue."""

    def __init__(self, budget: int = LEAST_SHARES.usage_queue) -> None:
        self._buffer = UsageBuffer(budget)

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        """See ``UsageQueue``."""
        del name
        return len(counts) + len(targets) - len(self._buffer.add(counts, targets))

    async def pending(self) -> Mapping[EnvironmentId, int]:
        """See ``UsageQueue``."""
        return self._buffer.pending()

    async def take(self, environment: EnvironmentId, limit: int) -> UsageLease | None:
        """See ``UsageQueue``."""
        return self._buffer.take(environment, limit)

    async def settle(
        self, lease: UsageLease, counts: Sequence[UsageCount] = (), targets: Sequence[UsageTarget] = ()
    ) -> None:
        """See ``UsageQueue``."""
        self._buffer.settle(lease, counts, targets)


class MemoryRegistrations:
    """Queued targets, oldest first, and fingerprints of sent ones; together about ``budget`` bytes."""

    def __init__(self, budget: int = LEAST_SHARES.registrations) -> None:
        self._budget = budget - budget // _SENT_PART
        self._waiting: BoundedMap[_Name, Registration] = BoundedMap(self._budget)
        self._taken: dict[_Name, tuple[Registration, bytes]] = {}
        self._sent: BoundedMap[_Name, bytes] = BoundedMap(budget // _SENT_PART)
        self._in_flight = 0
        self._arrived = asyncio.Event()

    async def add(self, registration: Registration) -> bool:
        """See ``Registrations``; a newer target replaces the queued one."""
        name = _name(registration)
        if name not in self._waiting:
            taken = self._taken.get(name)
            if fingerprint(registration.target) == (taken[1] if taken else self._sent.get(name)):
                return True
            if self._waiting.spent + self._in_flight + entry_cost(name, registration) > self._budget:
                return False
        if not self._waiting.offer(name, registration):
            return False
        self._arrived.set()
        return True

    async def take(self, limit: int) -> Sequence[Registration]:
        """See ``Registrations``; a target is not taken while an older version is in flight."""
        while True:
            free = list(islice((name for name in self._waiting if name not in self._taken), limit))
            if free:
                batch = [found for name in free if (found := self._waiting.pop(name)) is not None]
                self._taken.update({_name(taken): (taken, fingerprint(taken.target)) for taken in batch})
                self._in_flight += sum(entry_cost(_name(taken), taken) for taken in batch)
                return batch
            self._arrived.clear()
            await self._arrived.wait()

    async def complete(self, registration: Registration, *, delivered: bool) -> None:
        """See ``Registrations``; ignores a completed one."""
        sent = self._settle(registration)
        if sent is None:
            return
        name = _name(registration)
        if delivered:
            self._sent.put(name, sent)
        elif name not in self._waiting:
            self._waiting.offer(name, registration)
        if self._waiting:
            self._arrived.set()

    async def discard(self, registration: Registration) -> None:
        """See ``Registrations``; ignores a completed one."""
        self._settle(registration)
        if self._waiting:
            self._arrived.set()

    def _settle(self, registration: Registration) -> bytes | None:
        """The fingerprint of a registration, which is not in flight any more; ``None`` if it was not."""
        name = _name(registration)
        taken = self._taken.pop(name, None)
        if taken is None:
            return None
        self._in_flight -= entry_cost(name, taken[0])
        return taken[1]

    def is_waiting(self, registration: Registration) -> bool:
        """Whether this registration is queued and not taken."""
        return self._waiting.peek(_name(registration)) is registration

    def outstanding(self) -> list[Registration]:
        """Every registration that is queued or in flight, the newest of each target last."""
        return [*(taken for taken, _ in self._taken.values()), *self._waiting.values()]


_Name = tuple[EnvironmentId, str]


def _name(registration: Registration) -> _Name:
    return (registration.environment, registration.target.identifier)
