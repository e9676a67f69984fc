"""The hub: decides what open SDK streams get, and when (spec/behaviour#streaming, #stream-pacing)."""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable
from enum import Enum
from itertools import count
from typing import Final, Protocol

import msgspec

from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.snapshots.registry import Announcement, Listener
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.streams.channel import Channel, RefetchChannel
from ff_proxy.streams.list_reads import ListReads
from ff_proxy.streams.sender import Intervals, Sender
from ff_proxy.streams.stream import Stream
from ff_proxy.telemetry import Telemetry

_DRAIN_STEP: Final = 0.02
_TICK: Final = 1.0
# Allows for clock skew between members, and for other proxies' tokens, which count whole seconds.
_SKEW: Final = 2.0


class StreamProtocol(Enum):
    """The protocol of a stream."""

    HARNESS = "harness"
    OFREP = "ofrep"


class StreamOpening(msgspec.Struct, frozen=True):
    """What the hub needs to know to open a stream.

    Attributes:
        environment: a loaded environment.
        key: the stream ends when this key is revoked; ``None`` if keys are not checked.
        token: the request's token; empty if tokens are not checked.
        issued_at: when the token was issued (epoch seconds), if there is one.
        client: it is a client SDK: one segment event makes it fetch all evaluations.
        protocol: the protocol of the client.
        raw: the SDK ignores the last chunk, and only notices that the connection closes.
        seen: the last revision that an OFREP client got, if it says so.
    """

    environment: EnvironmentId
    key: SdkKeyHash | None = None
    token: bytes = b""
    issued_at: float | None = None
    client: bool = False
    protocol: StreamProtocol = StreamProtocol.HARNESS
    raw: bool = False
    seen: str = ""


class SnapshotSource(Protocol):
    """The snapshots that the hub follows."""

    def get(self, environment: EnvironmentId) -> Snapshot | None:
        """The environment's snapshot, or ``None`` while it is not loaded."""
        ...

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` after every swap."""
        ...


class Hub:
    """The open streams of all environments: sends changes and heartbeats, and ends streams.

    ``open_transport`` and announcements only queue work; ``run`` does it in slices.

    Args:
        snapshots: followed from construction on, so that changes during startup can be replayed.
        lists: knows which SDKs have fetched everything from this process.
        clock: time.
        telemetry: counts streams, events and closings per environment.
        jitter: spreads resyncs, and the ends of streams at shutdown.
        pace: all intervals and timeouts.
    """

    name = "hub"

    def __init__(
        self,
        snapshots: SnapshotSource,
        lists: ListReads,
        clock: Clock,
        telemetry: Telemetry,
        jitter: random.Random,
        pace: Intervals = Intervals(),  # noqa: B008  (frozen)
    ) -> None:
        self.ready = asyncio.Event()
        self._snapshots = snapshots
        self._lists = lists
        # A heap of times and streams, with a number that breaks ties.
        self._resyncs: list[tuple[float, int, Stream]] = []
        self._resync_numbers = count()
        self._clock = clock
        self._metrics = telemetry.metrics
        self._jitter = jitter
        self._pace = pace
        self._channels: dict[tuple[EnvironmentId, StreamProtocol], Channel] = {}
        self._sender = Sender(clock, pace)
        snapshots.listen(self._announced)

    def __len__(self) -> int:
        return sum(len(channel.streams) for channel in self._channels.values())

    def open_transport(
        self,
        transport: asyncio.Transport,
        opening: StreamOpening,
        head: bytes,
        on_closed: Callable[[], None],
    ) -> None:
        """Turn the connection of an accepted request into an open stream.

        Args:
            transport: the connection; its protocol is replaced.
            opening: environment, key and client.
            head: the complete response head, with a chunked body and ``Connection: close``.
            on_closed: called once, when the connection has closed.
        """
        channel = self._channel(opening.environment, opening.protocol)
        stream = Stream(
            transport,
            channel,
            opening.key,
            self._start_at(opening, channel),
            on_closed,
            raw=opening.raw,
        )
        channel.join(stream)
        if isinstance(channel, RefetchChannel):
            channel.catch_up(stream, opening.seen)
        elif opening.issued_at is not None and (
            channel.is_older(opening.issued_at) or self._from_the_future(opening.issued_at)
        ):
            self._catch_up(opening, channel, stream)
        self._sender.open(channel, stream, head)

    def _start_at(self, opening: StreamOpening, channel: Channel) -> int:
        """The position to start from: an SDK authenticates, fetches, then listens, so it has older events."""
        if opening.protocol is StreamProtocol.OFREP:
            return channel.recent.end
        if opening.issued_at is None or self._from_the_future(opening.issued_at):
            return channel.recent.start
        age = self._clock.wall() - opening.issued_at
        return channel.recent.position_at(self._clock.monotonic() - age - _SKEW)

    def _from_the_future(self, issued_at: float) -> bool:
        """Whether a token's age is unknown: its clock was ahead of this one, or this one was set back."""
        return issued_at > self._clock.wall() + _SKEW

    def _catch_up(self, opening: StreamOpening, channel: Channel, stream: Stream) -> None:
        """Make sure that an SDK with an older token fetches the current data."""
        if self._lists.complete(opening.token):
            return
        if opening.client:
            channel.refetch(stream)
        else:
            # Spread over time, and late: an SDK that polls without a stream will not need it by then.
            stream.token = opening.token
            delay = self._jitter.uniform(self._pace.resync_earliest, self._pace.resync_latest)
            at = self._clock.monotonic() + delay
            heapq.heappush(self._resyncs, (at, next(self._resync_numbers), stream))

    async def run(self) -> None:
        """Serve all streams until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sender.serve())
            group.create_task(self._sender.wake_due())
            group.create_task(self._sender.beat())
            group.create_task(self._every_second())
            self.ready.set()

    async def drain(self, seconds: float, before_last: Callable[[], None] | None = None) -> None:
        """End all streams, in random order spread over ``seconds``; when it returns, none is open.

        Streams opened meanwhile end with the last ones: ending them earlier would make some SDKs reconnect
        in a loop (spec/sdk-wire#trap-52). ``run`` must be running.

        Args:
            seconds: the time to take.
            before_last: stops new connections; called before the last streams end. Otherwise an SDK that
                reconnects at once would be accepted and sent away again and again (spec/sdk-wire#trap-14).
        """
        start = self._clock.monotonic()
        end = start + seconds
        planned = self._planned_ends(start, seconds)
        try:
            while (now := self._clock.monotonic()) < end:
                while planned and planned[0][0] <= now:
                    self._sender.end([planned.popleft()[1]], "shutdown")
                await self._clock.sleep(min(_DRAIN_STEP, end - now))
            if before_last is not None:
                before_last()
            while len(self) and self._clock.monotonic() < end + self._pace.grace:
                self._sender.end(self._streams(), "shutdown")
                await self._clock.sleep(_DRAIN_STEP)
        finally:
            for stream in self._streams():
                stream.abort()

    def _planned_ends(self, start: float, seconds: float) -> deque[tuple[float, Stream]]:
        """When each open stream ends: at even intervals, each delayed by up to one interval."""
        shuffled = self._jitter.sample(self._streams(), len(self))
        space = seconds / max(1, len(shuffled))
        return deque(
            (start + (index + self._jitter.random()) * space, stream) for index, stream in enumerate(shuffled)
        )

    def _streams(self) -> list[Stream]:
        return [stream for channel in self._channels.values() for stream in channel.streams]

    def _channel(self, environment: EnvironmentId, protocol: StreamProtocol) -> Channel:
        channel = self._channels.get((environment, protocol))
        if channel is None:
            make = RefetchChannel if protocol is StreamProtocol.OFREP else Channel
            channel = make(environment, self._sender, self._pace.window, self._lists, self._metrics)
            channel.snapshot = self._snapshots.get(environment)
            self._channels[environment, protocol] = channel
        return channel

    def _announced(self, announcement: Announcement) -> None:
        # Harness events are logged for future streams too; OFREP events are only for open streams.
        self._channel(announcement.environment, StreamProtocol.HARNESS)
        for protocol in StreamProtocol:
            channel = self._channels.get((announcement.environment, protocol))
            if channel is not None:
                self._announce_to(announcement, channel, protocol)

    def _announce_to(self, announcement: Announcement, channel: Channel, protocol: StreamProtocol) -> None:
        channel.announce(announcement.snapshot, announcement.changes, self._clock.monotonic())
        if announcement.snapshot is None:
            self._sender.end(channel.streams, "removed")
            del self._channels[announcement.environment, protocol]
        elif announcement.revoked:
            revoked = announcement.revoked
            self._sender.end([stream for stream in channel.streams if stream.key in revoked], "revoked")

    async def _every_second(self) -> None:
        while True:
            await self._clock.sleep(_TICK)
            now = self._clock.monotonic()
            for channel in self._channels.values():
                channel.prune(now)
            while self._resyncs and self._resyncs[0][0] <= now:
                stream = heapq.heappop(self._resyncs)[2]
                if not stream.ending:
                    stream.owner.resync(stream)
