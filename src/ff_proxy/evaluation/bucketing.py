"""Percentage rollout: which bucket a value is in, and which share that bucket is in.

See spec/evaluation#distribution.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

import mmh3

from ff_proxy.evaluation.attributes import utf8

NO_BUCKET: Final = math.inf
"""The bucket of a target with neither the attribute nor an identifier; no share reaches it."""

_BUCKETS: Final = 100


def bucket_of(bucket_by: str, value: str) -> int:
    """The bucket, 1..100, as in every SDK: murmur3 (x86, 32 bit, seed 0) of ``bucket_by:value``."""
    hashed: int = mmh3.hash(utf8(f"{bucket_by}:{value}"), 0, signed=False)
    return hashed % _BUCKETS + 1


def thresholds(weights: Iterable[int]) -> tuple[int, ...]:
    """The running totals of the shares' weights, for ``share_of``.

    The last total is omitted, because the last share gets every remaining bucket. A total below an earlier
    one (negative weights) can never be the first to reach a bucket, so the earlier one replaces it: that
    keeps them sorted.
    """
    return tuple(accumulate(accumulate(weights), max))[:-1]


share_of: Final = bisect_left
"""Given thresholds and a bucket: the index of the first share whose total reaches it, else the last."""
