"""A memory budget for data buffered for clients, shared fairly so that one client cannot starve others."""

from collections import Counter
from collections.abc import Callable
from typing import Final, final


@final
class Hold:
    """The ``size`` bytes buffered for one connection, charged to ``share`` and within it to ``peer``."""

    __slots__ = ("_budget", "evict", "peer", "share", "size")

    def __init__(self, budget: "BufferBudget", share: str, peer: str, evict: Callable[[], None]) -> None:
        self._budget: Final = budget
        self.share: Final = share
        self.peer: Final = peer
        self.evict: Final = evict
        self.size = 0

    def resize(self, size: int) -> None:
        """Set the size in bytes; if the budget is exceeded, a hold is evicted, perhaps this one."""
        self._budget.resize(self, size)


@final
class BufferBudget:
    """At most ``total`` bytes over all connections.

    When the budget is exceeded, the largest share is evicted from: within it the largest peer, and of that
    peer the oldest hold. A client that holds little always finds room.
    """

    def __init__(self, total: int, evicted: Callable[[int], object] = lambda _: None) -> None:
        self._total: Final = total
        self._evicted: Final = evicted
        self._holds: Final[dict[Hold, None]] = {}
        self._shares: Final[Counter[str]] = Counter()
        self.held = 0

    def open(self, share: str, peer: str, evict: Callable[[], None]) -> Hold:
        """Create an empty hold; ``evict`` is called to free its bytes."""
        return Hold(self, share, peer, evict)

    def resize(self, hold: Hold, size: int) -> None:
        """See ``Hold.resize``."""
        self._account(hold, size)
        while self.held > self._total:
            victim = self._victim()
            self._account(victim, 0)
            self._evicted(1)
            victim.evict()

    def _account(self, hold: Hold, size: int) -> None:
        self.held += size - hold.size
        self._shares[hold.share] += size - hold.size
        hold.size = size
        if size:
            self._holds.setdefault(hold)
            return
        self._holds.pop(hold, None)
        if not self._shares[hold.share]:
            del self._shares[hold.share]

    def _victim(self) -> Hold:
        share = max(self._shares, key=self._shares.__getitem__)
        own = [hold for hold in self._holds if hold.share == share]
        peers: Counter[str] = Counter()
        for hold in own:
            peers[hold.peer] += hold.size
        peer = max(peers, key=peers.__getitem__)
        return next(hold for hold in own if hold.peer == peer)
