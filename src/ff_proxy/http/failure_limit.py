"""Limits how often a client may fail to authenticate (spec/behaviour#abuse-limits)."""

from typing import Final, final

from ff_proxy.errors import RequestError
from ff_proxy.model.clock import Clock
from ff_proxy.model.token_buckets import TokenBuckets

TOO_MANY: Final = 429
LONGEST_WAIT: Final = 10
"""Highest ``Retry-After`` in seconds: SDKs really wait that long (spec/sdk-wire)."""

_FAILURES: Final = frozenset({401, 403})
# Thousands of SDKs behind one address may come with tokens that are no longer valid, and must be told so.
_BURST: Final = 3000.0
_PER_SECOND: Final = 50.0


@final
class FailureLimit:
    """Turns 401 and 403 beyond a client's rate into 429; other responses do not count.

    Args:
        clock: time.
        budget: bytes for counters.
        limited: whether the limit applies; may be changed at any time.
        burst: refusals of one client at once.
        per_second: refusals of one client in the long run.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        budget: int,
        limited: bool = True,
        burst: float = _BURST,
        per_second: float = _PER_SECOND,
    ) -> None:
        self.limited = limited
        self._clients: Final = TokenBuckets(burst, per_second, clock, budget=budget)

    def counts(self, refusal: RequestError) -> bool:
        """Whether the limit is on and applies to this error."""
        return self.limited and refusal.status in _FAILURES

    def apply(self, client: str, refusal: RequestError) -> RequestError:
        """Count a refusal; returns it, or a 429 if the client is over its limit.

        Args:
            client: its address; an empty one is not limited.
            refusal: one that ``counts``.
        """
        wait = self._clients.take(client) if client else 0
        return too_many(wait) if wait else refusal


def too_many(wait: int) -> RequestError:
    """429 for a client that may try again in ``wait`` seconds."""
    return RequestError(
        TOO_MANY, "too many refused requests, try again later", retry_after=min(wait, LONGEST_WAIT)
    )
