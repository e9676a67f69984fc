"""Counts on their way into the store: merged, bounded, and emptied twice a second."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from ff_proxy.bounded import BoundedMap
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget, merged, weight


class Batch(msgspec.Struct, frozen=True):
    """Merged entries of one environment."""

    environment: EnvironmentId
    counts: tuple[UsageCount, ...]
    targets: tuple[UsageTarget, ...]

    def __len__(self) -> int:
        return len(self.counts) + len(self.targets)

    def halves(self) -> "tuple[Batch, Batch]":
        """The same entries in two batches."""
        middle = len(self) // 2
        counted = min(middle, len(self.counts))
        seen = middle - counted
        return (
            Batch(self.environment, self.counts[:counted], self.targets[:seen]),
            Batch(self.environment, self.counts[counted:], self.targets[seen:]),
        )


_Name = tuple[EnvironmentId, str]


class WriteBuffer:
    """Merges entries of together about ``budget`` bytes; says how many found no room."""

    def __init__(self, budget: int) -> None:
        self._entries: BoundedMap[UsageKey | _Name, UsageCount | UsageTarget] = BoundedMap(
            budget, lambda _, entry: weight(entry)
        )

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def spent(self) -> int:
        """Bytes that the entries take."""
        return self._entries.spent

    def add(self, counts: Iterable[UsageCount], targets: Iterable[UsageTarget]) -> int:
        """Merge entries in; counts add up and the newer target stays. Returns how many were dropped."""
        dropped = 0
        for count in counts:
            known = self._entries.recall(count.key)
            added = merged(known, count) if isinstance(known, UsageCount) else count
            dropped += not self._entries.offer(count.key, added)
        for target in targets:
            dropped += not self._entries.offer((target.environment, target.identifier), target)
        return dropped

    def put_back(self, batch: Batch) -> int:
        """Merge in what had been drained: targets that were described anew meanwhile stay as they are."""
        known = self._entries
        older = (target for target in batch.targets if (batch.environment, target.identifier) not in known)
        return self.add(batch.counts, older)

    def drain(self, size: int) -> list[Batch]:
        """Empty the buffer: batches of one environment and at most ``size`` entries each."""
        counts: dict[EnvironmentId, list[UsageCount]] = {}
        targets: dict[EnvironmentId, list[UsageTarget]] = {}
        for entry in self._entries.values():
            if isinstance(entry, UsageCount):
                counts.setdefault(entry.key.environment, []).append(entry)
            else:
                targets.setdefault(entry.environment, []).append(entry)
        self._entries.clear()
        return [
            *(Batch(name, part, ()) for name, all_of in counts.items() for part in _parts(all_of, size)),
            *(Batch(name, (), part) for name, all_of in targets.items() for part in _parts(all_of, size)),
        ]


_T = TypeVar("_T")


def _parts(entries: list[_T], size: int) -> Iterable[tuple[_T, ...]]:
    return (tuple(entries[start : start + size]) for start in range(0, len(entries), size))
