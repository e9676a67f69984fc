"""Rates by name: a bucket of tokens each, which fills up again over time."""

import math
from collections.abc import Callable
from typing import Final, final

from ff_proxy.bounded import BoundedMap
from ff_proxy.model.clock import Clock

_ENTRY_BYTES: Final = 512


@final
class TokenBuckets:
    """Each name may take ``burst`` tokens at once, and ``per_second`` in the long run.

    Args:
        burst: tokens in a full bucket.
        per_second: how fast one fills.
        clock: time.
        budget: bytes for buckets that are not full; those that were not used for longest are then full again.
        dropped: told how many were forgotten for want of room.
    """

    def __init__(
        self,
        burst: float,
        per_second: float,
        clock: Clock,
        *,
        budget: int,
        dropped: Callable[[int], object] | None = None,
    ) -> None:
        self._burst: Final = burst
        self._per_second: Final = per_second
        self._clock: Final = clock
        self._buckets: BoundedMap[str, tuple[float, float]] = BoundedMap(
            budget, lambda name, _: _ENTRY_BYTES + 4 * len(name), dropped or (lambda _: None)
        )

    def take(self, name: str) -> int:
        """Take a token: 0, or, if there is none, in how many seconds there will be one."""
        now = self._clock.monotonic()
        tokens, filled = self._buckets.get(name, (self._burst, now))
        tokens = min(self._burst, tokens + (now - filled) * self._per_second)
        if tokens < 1:
            # Kept as it is: who goes on trying must not be forgotten before those who do not.
            return math.ceil((1 - tokens) / self._per_second)
        self._buckets.put(name, (tokens - 1, now))
        return 0
