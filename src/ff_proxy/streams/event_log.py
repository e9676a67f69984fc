"""The events that a stream may have missed: recent ones, or a full resync (spec/behaviour#stream-pacing)."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import islice
from operator import attrgetter
from typing import Final

from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.streams.framing import Batch, event_chunk, pack

_SPARE: Final = 64

_by_position = attrgetter("position")
_by_time = attrgetter("at")


class _Entry:
    __slots__ = ("at", "chunk", "item", "position", "superseded")

    def __init__(self, item: tuple[Domain, str], position: int, chunk: bytes, at: float) -> None:
        self.item: Final = item
        self.position: Final = position
        self.chunk: Final = chunk
        self.at: Final = at
        self.superseded = False


class EventLog:
    """An environment's events of the last ``window`` seconds, the newest per item, in order.

    It is both replay log and send queue: a stream's queue is just its position in the log, and streams at
    the same position share the bytes of their next write. A newer event of an item replaces the older one,
    so the size is bounded by the number of items, and a stream that lags gets only the newest event: a
    ``delete`` if the item no longer exists.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._entries: list[_Entry] = []
        self._newest: dict[tuple[Domain, str], _Entry] = {}
        self._batches: dict[int, Batch | None] = {}
        self.end = 0

    def __len__(self) -> int:
        return len(self._newest)

    def __contains__(self, item: tuple[Domain, str]) -> bool:
        return item in self._newest

    @property
    def start(self) -> int:
        """The position of a stream that has none of the logged events."""
        return self._entries[0].position - 1 if self._entries else self.end

    def position_at(self, at: float) -> int:
        """The position of a stream that has all events announced before ``at`` (monotonic seconds)."""
        first = bisect_left(self._entries, at, key=_by_time)
        return self._entries[first].position - 1 if first < len(self._entries) else self.end

    def append(self, item: tuple[Domain, str], chunk: bytes, now: float) -> None:
        """Add the event for a change of ``item``, announced at ``now`` (monotonic seconds)."""
        older = self._newest.get(item)
        if older is not None:
            older.superseded = True
        self.end += 1
        entry = _Entry(item, self.end, chunk, now)
        self._newest[item] = entry
        self._entries.append(entry)
        if len(self._entries) > 2 * len(self._newest) + _SPARE:
            self._entries = [kept for kept in self._entries if not kept.superseded]
        self._batches.clear()

    def after(self, position: int) -> Batch | None:
        """The next write for a stream at ``position``; ``None`` if it has all events."""
        if position == self.end:
            return None
        if position not in self._batches:
            first = bisect_right(self._entries, position, key=_by_position)
            self._batches[position] = pack(
                (entry.position, entry.chunk)
                for entry in islice(self._entries, first, None)
                if not entry.superseded
            )
        return self._batches[position]

    def expired(self, now: float) -> bool:
        """Whether the oldest event has left the window."""
        return bool(self._entries) and self._entries[0].at <= now - self._window

    def prune(self, now: float, floor: int) -> None:
        """Drop events older than the window, except those that a stream at position ``floor`` still needs."""
        gone = 0
        for entry in self._entries:
            if entry.at > now - self._window or entry.position > floor:
                break
            gone += 1
            if not entry.superseded:
                del self._newest[entry.item]
        del self._entries[:gone]
        self._batches.clear()


class Resync:
    """Changes sent to a stream whose SDK may have missed some. Positions count from 0.

    Args:
        snapshot: the snapshot that the changes describe.
        changes: the changes in sending order.
    """

    def __init__(self, snapshot: Snapshot, changes: Iterable[Change]) -> None:
        self._snapshot: Final = snapshot
        self._changes: Final = tuple(changes)
        self._batches: dict[int, Batch | None] = {}

    @classmethod
    def of_all_items(cls, snapshot: Snapshot, log: EventLog) -> "Resync":
        """One ``patch`` per flag and segment, except for items whose event is in ``log`` anyway."""
        changes = snapshot.all_as_patches()
        return cls(snapshot, (change for change in changes if (change.domain, change.identifier) not in log))

    def after(self, position: int, current: Snapshot) -> Batch | None:
        """The next write for a stream at ``position``; ``None`` at the end.

        Items that differ in ``current``, or are gone from it, are left out: their own events were sent first.
        """
        while (batch := self._packed(position)) is not None and current is not self._snapshot:
            kept = [
                change for change in self._changes[position : batch.position] if _matches(current, change)
            ]
            if kept:
                return Batch(b"".join(map(event_chunk, kept)), batch.position, len(kept))
            position = batch.position
        return batch

    def _packed(self, position: int) -> Batch | None:
        if position not in self._batches:
            self._batches[position] = pack(
                (index + 1, event_chunk(self._changes[index]))
                for index in range(position, len(self._changes))
            )
        return self._batches[position]


def _matches(snapshot: Snapshot, change: Change) -> bool:
    return snapshot.version(change.domain, change.identifier) == change.version


def change_of_one_segment(snapshot: Snapshot) -> Change:
    """A ``patch`` that makes a client SDK evaluate everything again (spec/sdk-wire#trap-53)."""
    name = next(iter(snapshot.items(Domain.SEGMENT)), None)
    if name is None:
        # Client SDKs ignore the name and do not fetch the segment.
        return Change(Action.PATCH, Domain.SEGMENT, snapshot.environment, 1)
    return Change(Action.PATCH, Domain.SEGMENT, name, snapshot.version(Domain.SEGMENT, name) or 1)


class OneWrite:
    """A resync of a single event, sent once."""

    def __init__(self, chunk: bytes) -> None:
        self._batch: Final = Batch(chunk, 1, 1)

    def after(self, position: int, current: Snapshot) -> Batch | None:
        """See ``Resync``."""
        del current
        return None if position else self._batch
