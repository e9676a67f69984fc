"""Memory held for clients while they send or read: one budget, shared out so that nobody starves another."""

from collections import Counter
from collections.abc import Callable
from typing import Final, final


@final
class Hold:
    """What is held for one connection: ``size`` bytes on the account of ``share`` and, in it, of ``peer``."""

    __slots__ = ("_budget", "evict", "peer", "share", "size")

    def __init__(self, budget: "BufferBudget", share: str, peer: str, evict: Callable[[], None]) -> None:
        self._budget: Final = budget
        self.share: Final = share
        self.peer: Final = peer
        self.evict: Final = evict
        self.size = 0

    def resize(self, size: int) -> None:
        """Hold ``size`` bytes from now on; somebody, perhaps this one, is evicted if that is too much."""
        self._budget.resize(self, size)


@final
class BufferBudget:
    """At most ``total`` bytes over all connections.

    When they do not suffice, the share that holds most gives something up: in it the peer that holds most,
    of it the one that has held for longest. So whoever holds little always finds room.
    """

    def __init__(self, total: int, evicted: Callable[[int], object] = lambda _: None) -> None:
        self._total: Final = total
        self._evicted: Final = evicted
        self._holds: Final[dict[Hold, None]] = {}
        self._shares: Final[Counter[str]] = Counter()
        self.held = 0

    def open(self, share: str, peer: str, evict: Callable[[], None]) -> Hold:
        """Something to hold bytes with; nothing is held yet. ``evict`` must let go of them."""
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
