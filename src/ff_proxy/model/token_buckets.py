"""Token buckets: a rate limit per name."""

import math
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
    """

    def __init__(
        self,
        burst: float,
        per_second: float,
        clock: Clock,
        *,
        budget: int,
    ) -> None:
        self._burst: Final = burst
        self._per_second: Final = per_second
        self._clock: Final = clock
        self._buckets: BoundedMap[str, tuple[float, float]] = BoundedMap(
            budget, lambda name, _: _ENTRY_BYTES + 4 * len(name)
        )

    def take(self, name: str) -> int:
        """Take a token and return 0; if there is none, return the seconds until there is one."""
        tokens = self._tokens(name)
        if tokens >= 1:
            self._buckets.put(name, (tokens - 1, self._clock.monotonic()))
        return self._seconds_until_one(tokens)

    def wait(self, name: str) -> int:
        """The seconds until there is a token; takes none."""
        return self._seconds_until_one(self._tokens(name))

    def _tokens(self, name: str) -> float:
        now = self._clock.monotonic()
        # ``get`` marks the bucket as used: a name that keeps trying is not evicted first.
        tokens, filled = self._buckets.get(name, (self._burst, now))
        return min(self._burst, tokens + (now - filled) * self._per_second)

    def _seconds_until_one(self, tokens: float) -> int:
        return 0 if tokens >= 1 else math.ceil((1 - tokens) / self._per_second)
