"""Counts that SDKs post back, as records that can be merged (spec/behaviour#usage-merging)."""

import sys
from functools import cached_property
from itertools import chain
from typing import Final, Self

import msgspec

from ff_proxy.bounded import ENTRY_OVERHEAD
from ff_proxy.model.keys import EnvironmentId

Attributes = tuple[tuple[str, str], ...]
"""Key and value pairs in canonical order; a value is the compact JSON text of what the SDK sent."""

MAX_COUNT: Final = 2**53 - 1
"""No count grows above this: every JSON reader and every store keeps it exactly."""


class UsageKey(msgspec.Struct, frozen=True, cache_hash=True, dict=True):
    """The identity of a count: counts with equal keys add up."""

    environment: EnvironmentId
    metrics_type: str
    attributes: Attributes

    @cached_property
    def weight(self) -> int:
        """See ``weight``; like the hash, it is asked for several times on a count's way."""
        return _weight(self.attributes, self.metrics_type)


class UsageCount(msgspec.Struct, frozen=True):
    """``count`` evaluations under one key; ``timestamp`` (epoch milliseconds) is the latest one's."""

    key: UsageKey
    count: int
    timestamp: int


class UsageTarget(msgspec.Struct, frozen=True):
    """A target that a server SDK has seen: the newest description of an identifier wins."""

    environment: EnvironmentId
    identifier: str
    name: str
    attributes: Attributes


class UsageEntries(msgspec.Struct, frozen=True):
    """Counts and targets that stay together, such as those of one body."""

    counts: tuple[UsageCount, ...]
    targets: tuple[UsageTarget, ...]

    def __len__(self) -> int:
        return len(self.counts) + len(self.targets)

    @property
    def weight(self) -> int:
        """About the bytes of memory that they take."""
        return sum(map(weight, self.counts)) + sum(map(weight, self.targets))

    def halves(self) -> tuple[Self, Self]:
        """The same in two parts."""
        middle = len(self) // 2
        counts = min(middle, len(self.counts))
        targets = middle - counts
        return (
            msgspec.structs.replace(self, counts=self.counts[:counts], targets=self.targets[:targets]),
            msgspec.structs.replace(self, counts=self.counts[counts:], targets=self.targets[targets:]),
        )


class SentUsage(msgspec.Struct, frozen=True):
    """Evaluations with this result that Harness has received, in the last hour and in total."""

    flag: str
    variation: str
    last_hour: int
    total: int


def merged(held: UsageCount, more: UsageCount) -> UsageCount:
    """Two counts of one key as one: counts add up (to ``MAX_COUNT`` at most), the later timestamp stays."""
    return UsageCount(held.key, min(held.count + more.count, MAX_COUNT), max(held.timestamp, more.timestamp))


def weight(entry: UsageCount | UsageTarget) -> int:
    """About the bytes of memory that an entry of a buffer or queue takes."""
    if isinstance(entry, UsageCount):
        return entry.key.weight
    return _weight(entry.attributes, entry.identifier, entry.name)


def _weight(attributes: Attributes, *texts: str) -> int:
    # One text is weighed in a fraction of the time of many.
    text = "".join((*chain.from_iterable(attributes), *texts))
    return ENTRY_OVERHEAD + _RECORDS_WEIGHT + _PAIR_WEIGHT * len(attributes) + sys.getsizeof(text)


# The record, its key with the dictionary that holds the weight, and their places in a buffer.
_RECORDS_WEIGHT: Final = 370
# A tuple of two, and what two texts take besides their characters.
_PAIR_WEIGHT: Final = 80 + 2 * 49
