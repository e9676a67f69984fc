"""How often unknown keys may be tried, by a client and one by one (spec/behaviour#abuse-limits)."""

from typing import Final, final

from ff_proxy.http.failure_limit import too_many
from ff_proxy.http.token_buckets import TokenBuckets
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import SdkKeyHash

# A fleet that starts with a key that was revoked is refused at once; who tries keys is slowed down.
_BURST_BY_CLIENT: Final = 100.0
_PER_SECOND_BY_CLIENT: Final = 1.0
_BURST_BY_KEY: Final = 1000.0
_PER_SECOND_BY_KEY: Final = 10.0


@final
class KeyAttempts:
    """Counts attempts with keys that nobody here knows; good keys are not counted.

    Args:
        clock: time.
        budget: bytes to remember clients and keys in.
        limited: without it nobody is limited; may be set at any time.
    """

    def __init__(self, clock: Clock, *, budget: int, limited: bool = True) -> None:
        self.limited = limited
        half = budget // 2
        self._clients: Final = TokenBuckets(_BURST_BY_CLIENT, _PER_SECOND_BY_CLIENT, clock, budget=half)
        self._keys: Final = TokenBuckets(_BURST_BY_KEY, _PER_SECOND_BY_KEY, clock, budget=half)

    def admit(self, client: str, key: SdkKeyHash) -> None:
        """One more; ``RequestError`` 429 if ``client`` (empty: unknown) or ``key`` has had too many."""
        if not self.limited:
            return
        wait = self._clients.take(client) if client else 0
        wait = wait or self._keys.take(key)
        if wait:
            raise too_many(wait)
