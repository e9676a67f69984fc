"""Usage on its way into the store: merged, bounded, and flushed twice a second."""

from collections.abc import Iterable
from typing import Self, TypeVar
from uuid import uuid4

import msgspec

from ff_proxy.bounded import BoundedMap
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget, merged, weight


class Entries(msgspec.Struct, frozen=True):
    """Some of what was counted, which can be halved."""

    counts: tuple[UsageCount, ...]
    targets: tuple[UsageTarget, ...]

    def __len__(self) -> int:
        return len(self.counts) + len(self.targets)

    def halves(self) -> list[Self]:
        """The same in two parts."""
        middle = len(self) // 2
        counts = min(middle, len(self.counts))
        targets = middle - counts
        return [
            self._part(self.counts[:counts], self.targets[:targets]),
            self._part(self.counts[counts:], self.targets[targets:]),
        ]

    def _part(self, counts: tuple[UsageCount, ...], targets: tuple[UsageTarget, ...]) -> Self:
        return msgspec.structs.replace(self, counts=counts, targets=targets)


class Batch(Entries, frozen=True):
    """Merged entries of one environment, under a name by which a store can tell that they come again."""

    environment: EnvironmentId
    name: str = msgspec.field(default_factory=lambda: uuid4().hex)

    def _part(self, counts: tuple[UsageCount, ...], targets: tuple[UsageTarget, ...]) -> Self:
        return msgspec.structs.replace(self, counts=counts, targets=targets, name=uuid4().hex)


_Name = tuple[EnvironmentId, str]


class WriteBuffer:
    """Merges entries of up to about ``budget`` bytes in total, and reports how many had no room."""

    def __init__(self, budget: int) -> None:
        self._entries: BoundedMap[UsageKey | _Name | str, UsageCount | UsageTarget | Batch] = BoundedMap(
            budget, lambda _, entry: _weight(entry)
        )

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def spent(self) -> int:
        """The size of the entries in bytes."""
        return self._entries.spent

    def add(self, counts: Iterable[UsageCount], targets: Iterable[UsageTarget]) -> int:
        """Merge entries: counts add up, newer targets replace older ones. Returns how many were dropped."""
        dropped = 0
        for count in counts:
            existing = self._entries.peek(count.key)
            added = merged(existing, count) if isinstance(existing, UsageCount) else count
            dropped += not self._entries.offer(count.key, added)
        for target in targets:
            dropped += not self._entries.offer((target.environment, target.identifier), target)
        return dropped

    def put_back(self, batch: Batch) -> int:
        """Merge a drained batch back in, without replacing newer targets."""
        existing = self._entries
        older = (target for target in batch.targets if (batch.environment, target.identifier) not in existing)
        return self.add(batch.counts, older)

    def keep(self, batch: Batch) -> int:
        """Keep a drained batch as it is, for the next ``drain``. Returns how many entries were dropped."""
        return 0 if self._entries.offer(batch.name, batch) else len(batch)

    def drain(self, size: int) -> list[Batch]:
        """Empty the buffer: kept batches, then such of one environment and at most ``size`` entries."""
        kept: list[Batch] = []
        counts: dict[EnvironmentId, list[UsageCount]] = {}
        targets: dict[EnvironmentId, list[UsageTarget]] = {}
        for entry in self._entries.values():
            if isinstance(entry, Batch):
                kept.append(entry)
            elif isinstance(entry, UsageCount):
                counts.setdefault(entry.key.environment, []).append(entry)
            else:
                targets.setdefault(entry.environment, []).append(entry)
        self._entries.clear()
        return [
            *kept,
            *(Batch(part, (), name) for name, entries in counts.items() for part in _parts(entries, size)),
            *(Batch((), part, name) for name, entries in targets.items() for part in _parts(entries, size)),
        ]


_T = TypeVar("_T")


def _weight(entry: UsageCount | UsageTarget | Batch) -> int:
    if isinstance(entry, Batch):
        return sum(map(weight, entry.counts)) + sum(map(weight, entry.targets))
    return weight(entry)


def _parts(entries: list[_T], size: int) -> Iterable[tuple[_T, ...]]:
    return (tuple(entries[start : start + size]) for start in range(0, len(entries), size))
