"""Usage merged in memory, within a budget: what is on its way into a store, and the store in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import count, islice
from typing import Final, TypeVar

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageEntries, UsageKey, UsageTarget, merged, weight
from ff_proxy.store.protocol import UsageLease

_K = TypeVar("_K")
_V = TypeVar("_V")


class UsageBuffer:
    """Counts and targets by environment, oldest first, and leases of them.

    At most about ``budget`` bytes over all environments, leased entries included.
    """

    def __init__(self, budget: int) -> None:
        self._budget: Final = budget
        self._spent = 0
        self._counts: dict[EnvironmentId, dict[UsageKey, UsageCount]] = {}
        self._targets: dict[EnvironmentId, dict[str, UsageTarget]] = {}
        self._leases: dict[str, tuple[UsageLease, int]] = {}
        self._ids = count(1)

    @property
    def spent(self) -> int:
        """The size of all entries in bytes."""
        return self._spent

    @property
    def waiting(self) -> AbstractSet[EnvironmentId]:
        """The environments with entries that are not leased."""
        return self._counts.keys() | self._targets.keys()

    def add(self, counts: Iterable[UsageCount], targets: Iterable[UsageTarget]) -> UsageEntries:
        """Merge entries: counts add up, newer targets replace older ones. Returns those that had room."""
        return UsageEntries(
            tuple(entry for entry in counts if self._add_count(entry)),
            tuple(entry for entry in targets if self._add_target(entry)),
        )

    def pending(self) -> Mapping[EnvironmentId, int]:
        """The number of entries by environment, leased ones included."""
        pending: Counter[EnvironmentId] = Counter()
        for held in (self._counts, self._targets):
            pending.update({environment: len(entries) for environment, entries in held.items()})
        for lease, _ in self._leases.values():
            pending[lease.environment] += len(lease)
        return pending

    def take(self, environment: EnvironmentId, limit: int) -> UsageLease | None:
        """Lease up to ``limit`` entries, counts before targets; ``None`` if there are none."""
        counts = _pop(self._counts, environment, limit)
        targets = _pop(self._targets, environment, limit - len(counts))
        if not counts and not targets:
            return None
        lease = UsageLease(counts, targets, str(next(self._ids)), environment)
        self._leases[lease.id] = lease, lease.weight
        return lease

    def settle(
        self, lease: UsageLease, counts: Iterable[UsageCount] = (), targets: Iterable[UsageTarget] = ()
    ) -> bool:
        """End the lease and merge these entries back; a target replaced meanwhile keeps the newer version.

        Returns whether the lease was open.
        """
        known = self._leases.pop(lease.id, None)
        if known is None:
            return False
        self._spent -= known[1]
        waiting = self._targets.get(lease.environment, {})
        self.add(counts, [target for target in targets if target.identifier not in waiting])
        return True

    def outstanding(self) -> UsageEntries:
        """Every entry, leased or not; a key may occur twice."""
        leases = [lease for lease, _ in self._leases.values()]
        counts = [entry for lease in leases for entry in lease.counts]
        targets = [entry for lease in leases for entry in lease.targets]
        counts.extend(entry for held in self._counts.values() for entry in held.values())
        targets.extend(entry for held in self._targets.values() for entry in held.values())
        return UsageEntries(tuple(counts), tuple(targets))

    def _add_count(self, entry: UsageCount) -> bool:
        held = self._counts.get(entry.key.environment, {})
        known = held.get(entry.key)
        if known is not None:
            held[entry.key] = merged(known, entry)
            return True
        if not self._reserve(weight(entry)):
            return False
        held[entry.key] = entry
        self._counts[entry.key.environment] = held
        return True

    def _add_target(self, entry: UsageTarget) -> bool:
        held = self._targets.get(entry.environment, {})
        known = held.get(entry.identifier)
        if not self._reserve(weight(entry) - (0 if known is None else weight(known))):
            return False
        held[entry.identifier] = entry
        self._targets[entry.environment] = held
        return True

    def _reserve(self, size: int) -> bool:
        if self._spent + size > self._budget:
            return False
        self._spent += size
        return True


def _pop(held: dict[EnvironmentId, dict[_K, _V]], environment: EnvironmentId, limit: int) -> tuple[_V, ...]:
    entries = held.get(environment)
    if not entries or limit <= 0:
        return ()
    popped = tuple(entries.pop(name) for name in list(islice(entries, limit)))
    if not entries:
        del held[environment]
    return popped
