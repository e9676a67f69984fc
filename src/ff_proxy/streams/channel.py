"""The streams of one environment, and the events they get."""

from collections import deque
from collections.abc import Collection
from typing import Final, Protocol

from msgspec import structs

from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.streams.event_log import EventLog, OneWrite, Resync, change_of_one_segment
from ff_proxy.streams.framing import Batch, chunk, event_chunk
from ff_proxy.streams.list_reads import ListReads
from ff_proxy.streams.stream import Stream
from ff_proxy.telemetry import Metrics
from ff_proxy.wire.ofrep import refetch_record, revision_text

_ANY_ITEM: Final = (Domain.FLAG, "")
"""For OFREP all changes count as one item, so a stream that lags gets one event."""


class ChannelOwner(Protocol):
    """What a channel needs from the sender."""

    def schedule(self, channel: "Channel") -> None:
        """Serve ``channel``, which has ready streams, in turn with the other channels."""
        ...

    def drained(self, stream: Stream) -> None:
        """The last write of a stuck stream has been sent."""
        ...

    def forget(self, stream: Stream) -> None:
        """The stream's connection has closed."""
        ...


class Channel:
    """One environment: its streams, its recent events and its current snapshot.

    Every stream that is not stuck, waiting for its slot or ending is in exactly one of ``idle`` (it has all
    events) and ``ready`` (it gets a write when its turn comes).
    """

    def __init__(
        self, environment: str, owner: ChannelOwner, window: float, lists: ListReads, metrics: Metrics
    ) -> None:
        self._owner: Final = owner
        self._environment: Final = environment
        self.recent: Final = EventLog(window)
        self.snapshot: Snapshot | None = None
        self.streams: Final[set[Stream]] = set()
        self.idle: Final[set[Stream]] = set()
        self.ready: Final[deque[Stream]] = deque()
        self.scheduled = False
        self.sent: Final = metrics.events_sent.labels(environment)
        self._open: Final = metrics.streams.labels(environment)
        self._closed: Final = metrics.streams_closed
        self._lists = lists
        self._full_resync: Resync | None = None
        self._one_segment: OneWrite | None = None

    def announce(self, snapshot: Snapshot | None, changes: Collection[Change], now: float) -> None:
        """Record the changes of a new ``snapshot``, and make idle streams ready if there are any."""
        self.snapshot = snapshot
        self._full_resync = self._one_segment = None
        self._append(changes, now)
        if changes and self.idle:
            self.ready.extend(self.idle)
            self.idle.clear()
            self._owner.schedule(self)

    def join(self, stream: Stream) -> None:
        """Add a new stream; nothing is sent to it before ``wake``."""
        self.streams.add(stream)
        self._open.inc()

    def wake(self, stream: Stream) -> None:
        """Write to ``stream`` when its turn comes."""
        self.ready.append(stream)
        self._owner.schedule(self)

    def beat(self, stream: Stream) -> None:
        """Send ``stream`` a heartbeat, at once if it is idle."""
        stream.beat = True
        if stream in self.idle:
            self.idle.remove(stream)
            self.wake(stream)

    def drained(self, stream: Stream) -> None:
        """See ``StreamOwner``."""
        self._owner.drained(stream)

    def lost(self, stream: Stream, reason: str) -> None:
        """The connection of ``stream`` has closed."""
        self.streams.discard(stream)
        self.idle.discard(stream)
        self._open.dec()
        self._closed.labels(self._environment, reason).inc()
        self._owner.forget(stream)

    def is_older(self, issued_at: float) -> bool:
        """Whether a token is older than the data, so that its SDK may have fetched older data elsewhere."""
        return self.snapshot is not None and issued_at < self.snapshot.since

    def refetch(self, stream: Stream) -> None:
        """Send one event that makes a client SDK fetch all evaluations."""
        if self.snapshot is not None:
            if self._one_segment is None:
                self._one_segment = OneWrite(event_chunk(change_of_one_segment(self.snapshot)))
            stream.resync = self._one_segment

    def resync(self, stream: Stream) -> None:
        """Send an event for each item, unless the SDK has fetched both lists meanwhile."""
        if self.snapshot is None or self._lists.complete(stream.token):
            return
        if self._full_resync is None:
            self._full_resync = Resync.of_all_items(self.snapshot, self.recent)
        stream.resync = self._full_resync
        if stream in self.idle:
            self.idle.remove(stream)
            self.wake(stream)

    def next(self, stream: Stream) -> Batch | None:
        """Take the next write of ``stream``: recent events first, then the rest of a resync."""
        batch = self.recent.after(stream.position)
        if batch is not None:
            stream.position = batch.position
            return batch
        if stream.resync is None or self.snapshot is None:
            return None
        if not (stream.token and self._lists.complete(stream.token)):
            batch = stream.resync.after(stream.resync_position, self.snapshot)
        if batch is None:
            stream.resync = None
        else:
            stream.resync_position = batch.position
        return batch

    def _append(self, changes: Collection[Change], now: float) -> None:
        for change in changes:
            self.recent.append(
                (change.domain, change.identifier), event_chunk(self._current_action(change)), now
            )

    def _current_action(self, change: Change) -> Change:
        # An event from before this process may be about an item that no longer exists; a patch of it would
        # make the Node SDK try to fetch the item forever.
        if self.snapshot is None or self.snapshot.version(change.domain, change.identifier) is not None:
            return change
        return structs.replace(change, action=Action.DELETE)

    def prune(self, now: float) -> None:
        """Drop events that are too old to be replayed and that every stream here has got."""
        if not self.recent.expired(now):
            return
        if len(self.idle) == len(self.streams):
            floor = self.recent.end
        else:
            floor = min(stream.position for stream in self.streams)
        self.recent.prune(now, floor)
        self._full_resync = None


class RefetchChannel(Channel):
    """One environment's OFREP streams: events say that something changed, not what (spec/behaviour#ofrep)."""

    def catch_up(self, stream: Stream, seen: str) -> None:
        """Send an event at once if the client last saw a revision other than the current one."""
        if self.snapshot is not None and seen and seen != revision_text(self.snapshot.revision):
            stream.resync = OneWrite(chunk(refetch_record(self.snapshot.revision)))

    def _append(self, changes: Collection[Change], now: float) -> None:
        if changes and self.snapshot is not None:
            self.recent.append(_ANY_ITEM, chunk(refetch_record(self.snapshot.revision)), now)
