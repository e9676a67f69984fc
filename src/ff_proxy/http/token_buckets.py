"""Token buckets: a rate limit per name."""

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
        per_second: refill rate.
        clock: time.
        budget: bytes for all buckets; the least recently used are evicted, which makes them full again.
        dropped: called with the number of buckets evicted.
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
        """Take a token and return 0; if there is none, return the seconds until there is one."""
        now = self._clock.monotonic()
        tokens, filled = self._buckets.get(name, (self._burst, now))
        tokens = min(self._burst, tokens + (now - filled) * self._per_second)
        if tokens < 1:
            # ``get`` marked the bucket as used: a name that keeps trying is not evicted first.
            return math.ceil((1 - tokens) / self._per_second)
        self._buckets.put(name, (tokens - 1, now))
        return 0
