"""How many requests of a client may be refused for want of good credentials (spec/behaviour#abuse-limits)."""

from typing import Final, final

from ff_proxy.errors import RequestError
from ff_proxy.http.token_buckets import TokenBuckets

TOO_MANY: Final = 429
LONGEST_WAIT: Final = 10
"""Seconds that a client is told to wait at most: SDKs would take more at its word (spec/sdk-wire)."""

_FAILURES: Final = frozenset({401, 403})


@final
class FailureLimit:
    """Turns refusals beyond a client's rate into 429. Requests that are not refused are not looked at.

    Args:
        buckets: by client address; ``None``: no limit.
    """

    def __init__(self, buckets: TokenBuckets | None) -> None:
        self._buckets = buckets

    def limit(self, buckets: TokenBuckets | None) -> None:
        """Count in these buckets from now on, or limit nobody."""
        self._buckets = buckets

    def counts(self, refusal: RequestError) -> bool:
        """Whether it is one of those that are limited."""
        return self._buckets is not None and refusal.status in _FAILURES

    def judge(self, client: str, refusal: RequestError) -> RequestError:
        """A refusal that ``counts``, or what is said instead to a client (empty: unknown) with too many."""
        if self._buckets is None or not client:
            return refusal
        wait = self._buckets.take(client)
        return too_many(wait) if wait else refusal


def too_many(wait: int) -> RequestError:
    """A client is over its limit, and has to wait for so many seconds."""
    return RequestError(
        TOO_MANY, "too many requests that were refused, try again later", retry_after=min(wait, LONGEST_WAIT)
    )
