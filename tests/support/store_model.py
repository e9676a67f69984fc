"""What a store must equal, written once more and as plainly as possible: dictionaries, and nothing else.

The rules are those of ``store/protocol.py`` and spec/behaviour#upward-queues, spec/behaviour#lease, not those
of any adapter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ff_proxy.model.environment import (
    Action,
    Change,
    Domain,
    EnvironmentConfig,
    EnvironmentInfo,
    Item,
    RecentChange,
)
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.model.target import Target
from ff_proxy.model.usage import MAX_COUNT, UsageCount, UsageKey, UsageTarget
from ff_proxy.store.protocol import DropItem, Edit, PutItem, Registration, UsageLease

Name = tuple[Domain, str]


@dataclass
class HeldEnvironment:
    """One environment: items as (version, digest)."""

    info: EnvironmentInfo
    since: float
    keys: frozenset[SdkKeyHash] = frozenset()
    items: dict[Name, tuple[int, str]] = field(default_factory=dict)
    retired: dict[Name, int] = field(default_factory=dict)
    recent: dict[Name, RecentChange] = field(default_factory=dict)


class ConfigModel:
    """Environments."""

    def __init__(self) -> None:
        self.held: Final[dict[EnvironmentId, HeldEnvironment]] = {}

    def replace(self, config: EnvironmentConfig, now: float) -> bool:
        """Whether anything changed."""
        items = {
            (item.domain, name): item for name, item in (*config.flags.items(), *config.segments.items())
        }
        held = self.held.get(config.id)
        if held is None:
            versions = {name: (item.version, item.digest) for name, item in items.items()}
            self.held[config.id] = HeldEnvironment(config.info, now, config.keys, versions)
            return True
        changed = [self._put(held, item, now) for item in items.values()]
        changed += [self._drop(held, name, now) for name in list(held.items) if name not in items]
        changed += [held.keys != config.keys, held.info != config.info]
        held.keys, held.info = config.keys, config.info
        return any(changed)

    def apply(self, environment: EnvironmentId, edit: Edit, now: float) -> bool | None:
        """Whether anything changed; ``None`` if the environment is not held."""
        held = self.held.get(environment)
        if held is None:
            return None
        if isinstance(edit, PutItem):
            return self._put(held, edit.item, now)
        if isinstance(edit, DropItem):
            return self._drop(held, (edit.domain, edit.identifier), now)
        before, held.keys = held.keys, edit.keys
        return before != edit.keys

    @staticmethod
    def _put(held: HeldEnvironment, item: Item, now: float) -> bool:
        name = (item.domain, item.identifier)
        known = held.items.get(name)
        version = item.version
        if known is None:
            version = max(version, held.retired.pop(name, version - 1) + 1)
        elif known[1] != item.digest:
            version = max(version, known[0] + 1)
        elif version <= known[0]:
            return False
        held.items[name] = (version, item.digest)
        held.recent[name] = RecentChange(now, Change(Action.PATCH, *name, version))
        return True

    @staticmethod
    def _drop(held: HeldEnvironment, name: Name, now: float) -> bool:
        known = held.items.pop(name, None)
        if known is None:
            return False
        held.retired[name] = known[0]
        held.recent[name] = RecentChange(now, Change(Action.DELETE, *name, known[0]))
        return True


class UsageModel:
    """Counts and targets that wait, and leases; ``shared`` says that all environments share the capacity."""

    def __init__(self, capacity: int, *, shared: bool) -> None:
        self._capacity = capacity
        self._shared = shared
        self._counts: dict[UsageKey, UsageCount] = {}
        self._targets: dict[tuple[EnvironmentId, str], UsageTarget] = {}
        self.leases: Final[dict[str, UsageLease]] = {}
        self._overdue: set[str] = set()

    def merge(self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget]) -> int:
        """How many had to be dropped."""
        dropped = 0
        for count in counts:
            if count.key in self._counts or self._has_room(count.key.environment):
                self._add(count)
            else:
                dropped += 1
        for target in targets:
            name = (target.environment, target.identifier)
            if name in self._targets or self._has_room(target.environment):
                self._targets[name] = target
            else:
                dropped += 1
        return dropped

    def pending(self) -> Mapping[EnvironmentId, int]:
        """Entries by environment, leased ones included."""
        found: dict[EnvironmentId, int] = {}
        for environment in [
            *(key.environment for key in self._counts),
            *(name[0] for name in self._targets),
            *(lease.environment for lease in self.leases.values() for _ in (*lease.counts, *lease.targets)),
        ]:
            found[environment] = found.get(environment, 0) + 1
        return found

    def take(self, environment: EnvironmentId, limit: int, lease: UsageLease | None) -> None:
        """Check that ``lease`` may be given now: which entries a store picks is its own choice."""
        for name in [name for name in self._overdue if self.leases[name].environment == environment]:
            self._give_back(self.leases[name])
        counts = {key: count for key, count in self._counts.items() if key.environment == environment}
        targets = {name: target for name, target in self._targets.items() if name[0] == environment}
        if lease is None:
            assert not counts, "counts wait"
            assert not targets, "targets wait"
            return
        assert lease.environment == environment
        assert lease.id not in self.leases
        assert len(lease.counts) == min(limit, len(counts)), "counts go first"
        assert len(lease.targets) == min(limit - len(lease.counts), len(targets))
        for count in lease.counts:
            assert self._counts.pop(count.key) == count
        for target in lease.targets:
            assert self._targets.pop((environment, target.identifier)) == target
        self.leases[lease.id] = lease

    def settle(self, lease: UsageLease, counts: Sequence[UsageCount], targets: Sequence[UsageTarget]) -> None:
        """These have not arrived; nothing happens to a lease that is settled already."""
        self._overdue.discard(lease.id)
        if self.leases.pop(lease.id, None) is None:
            return
        for count in counts:
            self._add(count)
        for target in targets:
            self._targets.setdefault((lease.environment, target.identifier), target)

    def _give_back(self, lease: UsageLease) -> None:
        self.settle(lease, lease.counts, lease.targets)

    def taker_died(self) -> None:
        """What is leased now comes back when the next batch of its environment is taken."""
        self._overdue.update(self.leases)

    def restart(self) -> None:
        """What was leased waits again, for a store that knows of no leases after a restart."""
        counts, targets = list(self._counts.values()), list(self._targets.items())
        self._counts, self._targets = {}, {}
        for lease in list(self.leases.values()):
            self._give_back(lease)
        for count in counts:
            self._add(count)
        self._targets.update(targets)

    def forget(self) -> None:
        """Everything is gone."""
        self._counts, self._targets = {}, {}
        self.leases.clear()
        self._overdue.clear()

    def _add(self, count: UsageCount) -> None:
        held = self._counts.get(count.key, UsageCount(count.key, 0, 0))
        total = min(held.count + count.count, MAX_COUNT)
        self._counts[count.key] = UsageCount(count.key, total, max(held.timestamp, count.timestamp))

    def _has_room(self, environment: EnvironmentId) -> bool:
        pending = self.pending()
        held = sum(pending.values()) if self._shared else pending.get(environment, 0)
        return held < self._capacity


class RegistrationModel:
    """Targets on their way; ``shared`` as for usage."""

    def __init__(self, capacity: int, *, shared: bool) -> None:
        self._capacity = capacity
        self._shared = shared
        self._ordered = True
        self._sent: dict[tuple[EnvironmentId, str], Target] = {}
        self.waiting: Final[dict[tuple[EnvironmentId, str], Target]] = {}
        self.taken: Final[dict[tuple[EnvironmentId, str], Target]] = {}

    def add(self, registration: Registration) -> bool:
        """Whether there was room, or no need of it."""
        name, target = _name(registration), registration.target
        if name not in self.waiting:
            if target == self.taken.get(name, self._sent.get(name)):
                return True
            used = [place for place in (*self.waiting, *self.taken) if self._shared or place[0] == name[0]]
            if len(used) >= self._capacity:
                return False
        self.waiting[name] = target
        return True

    def environments(self) -> set[EnvironmentId]:
        """Of which some may be taken."""
        return {name[0] for name in self.waiting if name not in self.taken}

    def take(self, environment: EnvironmentId, batch: Sequence[Registration], limit: int) -> None:
        """Check that ``batch`` may be given now: the oldest, in order."""
        free = [name for name in self.waiting if name[0] == environment and name not in self.taken]
        assert len(batch) == min(limit, len(free))
        assert not self._ordered or [_name(entry) for entry in batch] == free[:limit], "the oldest go first"
        for registration in batch:
            assert self.waiting.pop(_name(registration)) == registration.target
            self.taken[_name(registration)] = registration.target

    def complete(self, registration: Registration, *, delivered: bool) -> None:
        """Nothing happens to one that is settled already."""
        target = self.taken.pop(_name(registration), None)
        if target is None:
            return
        if delivered:
            self._sent[_name(registration)] = target
        else:
            self.waiting.setdefault(_name(registration), target)

    def discard(self, registration: Registration) -> None:
        """It may come again."""
        self.taken.pop(_name(registration), None)

    def restart(self) -> None:
        """What was being sent waits again, in some order, and what was sent is forgotten."""
        self.waiting.update({**self.taken, **self.waiting})
        self.taken.clear()
        self._sent.clear()
        self._ordered = False

    def forget(self) -> None:
        """Everything is gone."""
        self.waiting.clear()
        self.taken.clear()
        self._sent.clear()


def _name(registration: Registration) -> tuple[EnvironmentId, str]:
    return registration.environment, registration.target.identifier
