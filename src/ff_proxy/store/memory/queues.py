"""The queues to Harness in memory: usage and target registrations."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Final, TypeVar

from ff_proxy.bounded import BoundedMap, entry_cost
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget, merged, weight
from ff_proxy.store.fingerprint import fingerprint
from ff_proxy.store.protocol import Registration, UsageLease

# The part of the registrations' budget for fingerprints of sent ones.
_SENT_PART: Final = 4


class MemoryUsageQueue:
    """Counts and targets in dictionaries by environment, oldest first.

    At most about ``budget`` bytes over all environments, leased entries included.
    """

    def __init__(self, budget: int = LEAST_SHARES.usage_queue) -> None:
        self._budget = budget
        self._spent = 0
        self._counts: dict[EnvironmentId, dict[UsageKey, UsageCount]] = {}
        self._targets: dict[EnvironmentId, dict[str, UsageTarget]] = {}
        self._leases: dict[str, UsageLease] = {}
        self._ids = count(1)

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        """See ``UsageQueue``."""
        del name
        taken_counts, taken_targets = self.admit(counts, targets)
        return len(counts) + len(targets) - len(taken_counts) - len(taken_targets)

    def admit(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget]
    ) -> tuple[list[UsageCount], list[UsageTarget]]:
        """Merge and return the accepted entries, for adapters that also keep a copy elsewhere."""
        return (
            [entry for entry in counts if self._add_count(entry)],
            [entry for entry in targets if self._add_target(entry)],
        )

    def is_leased(self, lease: UsageLease) -> bool:
        """Whether the lease is still open."""
        return lease.id in self._leases

    def outstanding(self) -> tuple[list[UsageCount], list[UsageTarget]]:
        """Every queued or leased entry; a key may occur twice."""
        counts = [entry for lease in self._leases.values() for entry in lease.counts]
        targets = [entry for lease in self._leases.values() for entry in lease.targets]
        counts.extend(entry for held in self._counts.values() for entry in held.values())
        targets.extend(entry for held in self._targets.values() for entry in held.values())
        return counts, targets

    async def pending(self) -> Mapping[EnvironmentId, int]:
        """See ``UsageQueue``."""
        waiting: dict[EnvironmentId, int] = {}
        for held in (self._counts, self._targets):
            for environment, entries in held.items():
                waiting[environment] = waiting.get(environment, 0) + len(entries)
        for lease in self._leases.values():
            size = len(lease.counts) + len(lease.targets)
            waiting[lease.environment] = waiting.get(lease.environment, 0) + size
        return {environment: entries for environment, entries in waiting.items() if entries}

    async def take(self, environment: EnvironmentId, limit: int) -> UsageLease | None:
        """See ``UsageQueue``; counts go before targets."""
        counts = _pop(self._counts, environment, limit)
        targets = _pop(self._targets, environment, limit - len(counts))
        if not counts and not targets:
            return None
        lease = UsageLease(str(next(self._ids)), environment, counts, targets)
        self._leases[lease.id] = lease
        return lease

    async def settle(
        self, lease: UsageLease, counts: Sequence[UsageCount] = (), targets: Sequence[UsageTarget] = ()
    ) -> None:
        """See ``UsageQueue``; a target replaced meanwhile keeps the newer version."""
        if self._leases.pop(lease.id, None) is None:
            return
        self._spent -= sum(map(weight, lease.counts)) + sum(map(weight, lease.targets))
        for entry in counts:
            self._add_count(entry)
        waiting = self._targets.get(lease.environment, {})
        for target in targets:
            if target.identifier not in waiting:
                self._add_target(target)

    def _add_count(self, entry: UsageCount) -> bool:
        held = self._counts.setdefault(entry.key.environment, {})
        known = held.get(entry.key)
        if known is not None:
            held[entry.key] = merged(known, entry)
            return True
        if not self._reserve(weight(entry)):
            return False
        held[entry.key] = entry
        return True

    def _add_target(self, entry: UsageTarget) -> bool:
        held = self._targets.setdefault(entry.environment, {})
        known = held.get(entry.identifier)
        if not self._reserve(weight(entry) - (0 if known is None else weight(known))):
            return False
        held[entry.identifier] = entry
        return True

    def _reserve(self, size: int) -> bool:
        if self._spent + size > self._budget:
            return False
        self._spent += size
        return True


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
_K = TypeVar("_K")
_V = TypeVar("_V")


def _name(registration: Registration) -> _Name:
    return (registration.environment, registration.target.identifier)


def _pop(held: dict[EnvironmentId, dict[_K, _V]], environment: EnvironmentId, limit: int) -> tuple[_V, ...]:
    entries = held.get(environment)
    if not entries:
        return ()
    names = list(islice(entries, limit))
    popped = tuple(entries.pop(name) for name in names)
    if not entries:
        del held[environment]
    return popped
