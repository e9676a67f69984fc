"""Spreads heartbeats over time: each stream has a slot, and every slot is due once per period."""

from collections.abc import Collection
from typing import Final

from ff_proxy.streams.stream import Stream


class HeartbeatWheel:
    """``slots`` sets of streams, filled in turn, so that streams opened together get different times."""

    def __init__(self, slots: int) -> None:
        self._slots: Final[tuple[set[Stream], ...]] = tuple(set() for _ in range(slots))
        self._next = 0
        self._hand = 0

    def add(self, stream: Stream) -> None:
        """Assign ``stream`` to a slot."""
        stream.slot = self._next
        self._slots[self._next].add(stream)
        self._next = (self._next + 1) % len(self._slots)

    def discard(self, stream: Stream) -> None:
        """Remove ``stream`` from its slot."""
        self._slots[stream.slot].discard(stream)

    def turn(self) -> Collection[Stream]:
        """Advance by one slot and return the streams whose heartbeat is due."""
        slot = self._slots[self._hand]
        self._hand = (self._hand + 1) % len(self._slots)
        return slot
