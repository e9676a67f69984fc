"""Percentage rollout: which bucket a value is in, and which share that bucket is in (evaluation.md §5)."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

import mmh3

from ff_proxy.evaluation.attributes import utf8

NO_BUCKET: Final = 0
"""The bucket of a target that has neither the attribute nor an identifier."""

_BUCKETS: Final = 100


def bucket_of(bucket_by: str, value: str) -> int:
    """1..100, the same in every SDK: murmur3 (x86, 32 bit, seed 0) of ``bucket_by:value``."""
    hashed: int = mmh3.hash(utf8(f"{bucket_by}:{value}"), 0, signed=False)
    return hashed % _BUCKETS + 1


def running_totals(weights: Iterable[int]) -> tuple[int, ...]:
    """The totals that buckets are compared with, never falling, so that they can be searched.

    A share whose total is below an earlier one (negative weights) can never be the first to reach a
    bucket, so the earlier total may stand in its place.
    """
    return tuple(accumulate(accumulate(weights), max))


def share_of(totals: Sequence[int], bucket: int) -> int:
    """The index of the first share whose total reaches ``bucket``; the last if none does, or no bucket."""
    last = len(totals) - 1
    return last if bucket == NO_BUCKET else min(bisect_left(totals, bucket), last)
