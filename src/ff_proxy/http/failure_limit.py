"""Limits how often a client may fail to authenticate (spec/behaviour#abuse-limits)."""

from typing import Final, final

from ff_proxy.errors import RequestError
from ff_proxy.model.token_buckets import TokenBuckets

TOO_MANY: Final = 429
LONGEST_WAIT: Final = 10
"""Highest ``Retry-After`` in seconds: SDKs really wait that long (spec/sdk-wire)."""

_FAILURES: Final = frozenset({401, 403})


@final
class FailureLimit:
    """Turns 401 and 403 beyond a client's rate into 429; other responses do not count.

    Args:
        buckets: by client address; ``None``: no limit.
    """

    def __init__(self, buckets: TokenBuckets | None) -> None:
        self._buckets = buckets

    def limit(self, buckets: TokenBuckets | None) -> None:
        """Replace the buckets; ``None`` turns the limit off."""
        self._buckets = buckets

    def counts(self, refusal: RequestError) -> bool:
        """Whether the limit is on and applies to this error."""
        return self._buckets is not None and refusal.status in _FAILURES

    def apply(self, client: str, refusal: RequestError) -> RequestError:
        """Count a refusal; returns it, or a 429 if the client is over its limit.

        Args:
            client: its address; an empty one is not limited.
            refusal: one that ``counts``.
        """
        if self._buckets is None or not client:
            return refusal
        wait = self._buckets.take(client)
        return too_many(wait) if wait else refusal


def too_many(wait: int) -> RequestError:
    """429 for a client that may try again in ``wait`` seconds."""
    return RequestError(
        TOO_MANY, "too many refused requests, try again later", retry_after=min(wait, LONGEST_WAIT)
    )
