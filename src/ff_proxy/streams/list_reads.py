"""Records, by token, which SDKs have fetched all flags and all segments from this process."""

from collections.abc import Callable
from typing import Final, final

from ff_proxy.bounded import BoundedMap
from ff_proxy.model.environment import Domain

_BITS: Final = {Domain.FLAG: 1, Domain.SEGMENT: 2}
_BOTH: Final = 3


@final
class ListReads:
    """A bounded record; an SDK that was evicted counts as one that has fetched nothing.

    Args:
        budget: bytes.
        dropped: called with the number of evicted SDKs.
    """

    def __init__(self, budget: int, dropped: Callable[[int], object] = lambda _: None) -> None:
        self._seen: BoundedMap[bytes, int] = BoundedMap(budget, dropped=dropped)

    def note(self, token: bytes, domain: Domain) -> None:
        """Record that the SDK with ``token`` has fetched all items of ``domain``."""
        seen = self._seen.get(token, 0)
        if not seen & _BITS[domain]:
            self._seen.put(token, seen | _BITS[domain])

    def complete(self, token: bytes) -> bool:
        """Whether the SDK with ``token`` has fetched both lists."""
        return self._seen.get(token, 0) == _BOTH
