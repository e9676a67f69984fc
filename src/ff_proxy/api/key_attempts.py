"""Rate limits on unknown keys, per client and per key (spec/behaviour#abuse-limits)."""

from typing import Final, final

from ff_proxy.http.failure_limit import too_many
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.model.token_buckets import TokenBuckets

# The burst covers a fleet that starts with a revoked key; guessing keys is slowed to the rate below.
_BURST_BY_CLIENT: Final = 100.0
_PER_SECOND_BY_CLIENT: Final = 1.0
_BURST_BY_KEY: Final = 1000.0
_PER_SECOND_BY_KEY: Final = 10.0


@final
class KeyAttempts:
    """Limits attempts with unknown keys; known keys do not count.

    Args:
        clock: time.
        budget: bytes for counters.
        limited: whether the limits apply; may be changed at any time.
    """

    def __init__(self, clock: Clock, *, budget: int, limited: bool = True) -> None:
        self.limited = limited
        half = budget // 2
        self._clients: Final = TokenBuckets(_BURST_BY_CLIENT, _PER_SECOND_BY_CLIENT, clock, budget=half)
        self._keys: Final = TokenBuckets(_BURST_BY_KEY, _PER_SECOND_BY_KEY, clock, budget=half)

    def admit(self, client: str, key: SdkKeyHash) -> None:
        """Count an attempt; raises ``RequestError`` 429 beyond the rate of ``client`` (if any) or ``key``."""
        if not self.limited:
            return
        wait = self._clients.take(client) if client else 0
        wait = wait or self._keys.take(key)
        if wait:
            raise too_many(wait)
