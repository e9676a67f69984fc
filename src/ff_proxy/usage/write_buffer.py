"""Counts on their way into the store: merged, bounded, and emptied twice a second."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget, merged, weight


class Batch(msgspec.Struct, frozen=True):
    """Merged entries of one environment."""

    environment: EnvironmentId
    counts: tuple[UsageCount, ...]
    targets: tuple[UsageTarget, ...]


class WriteBuffer:
    """Merges up to ``capacity`` entries of together about ``max_bytes``; says how many found no room."""

    def __init__(self, capacity: int, max_bytes: int) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._bytes = 0
        self._counts: dict[UsageKey, UsageCount] = {}
        self._targets: dict[tuple[EnvironmentId, str], UsageTarget] = {}

    def __len__(self) -> int:
        return len(self._counts) + len(self._targets)

    def add(self, counts: Iterable[UsageCount], targets: Iterable[UsageTarget]) -> int:
        """Merge entries in; counts add up and the newer target stays. Returns how many were dropped."""
        dropped = self._add_counts(counts)
        for target in targets:
            name = (target.environment, target.identifier)
            if name in self._targets or self._reserve(weight(target)):
                self._targets[name] = target
            else:
                dropped += 1
        return dropped

    def put_back(self, batch: Batch) -> int:
        """Merge in what had been drained: targets that were described anew meanwhile stay as they are."""
        known = self._targets
        older = (target for target in batch.targets if (batch.environment, target.identifier) not in known)
        return self.add(batch.counts, older)

    def drain(self, size: int) -> list[Batch]:
        """Empty the buffer: batches of one environment and at most ``size`` entries each."""
        counts: dict[EnvironmentId, list[UsageCount]] = {}
        targets: dict[EnvironmentId, list[UsageTarget]] = {}
        for count in self._counts.values():
            counts.setdefault(count.key.environment, []).append(count)
        for target in self._targets.values():
            targets.setdefault(target.environment, []).append(target)
        self._counts, self._targets, self._bytes = {}, {}, 0
        return [
            *(Batch(name, part, ()) for name, all_of in counts.items() for part in _parts(all_of, size)),
            *(Batch(name, (), part) for name, all_of in targets.items() for part in _parts(all_of, size)),
        ]

    def _add_counts(self, counts: Iterable[UsageCount]) -> int:
        dropped = 0
        held = self._counts
        for count in counts:
            known = held.get(count.key)
            if known is not None:
                held[count.key] = merged(known, count)
            elif self._reserve(weight(count)):
                held[count.key] = count
            else:
                dropped += 1
        return dropped

    def _reserve(self, size: int) -> bool:
        if len(self) >= self._capacity or self._bytes + size > self._max_bytes:
            return False
        self._bytes += size
        return True


_T = TypeVar("_T")


def _parts(entries: list[_T], size: int) -> Iterable[tuple[_T, ...]]:
    return (tuple(entries[start : start + size]) for start in range(0, len(entries), size))
