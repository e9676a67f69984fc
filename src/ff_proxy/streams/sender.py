"""Writes to open streams: pacing slots, slices, heartbeats and ends (spec/behaviour#stream-pacing)."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from ff_proxy.model.clock import Clock
from ff_proxy.streams.channel import Channel
from ff_proxy.streams.framing import HEARTBEAT_CHUNK
from ff_proxy.streams.heartbeat_wheel import HeartbeatWheel
from ff_proxy.streams.stream import Stream

_SLICE: Final = 100
"""Streams served per turn of the event loop, so that requests wait at most a few milliseconds."""

_HEARTBEAT_SLOTS: Final = 56


class Intervals(msgspec.Struct, frozen=True):
    """Intervals and timeouts of streams, in seconds.

    Attributes:
        slot: between two writes to one stream; a little over the 20 ms that keep them separate on the wire.
        heartbeat: between two heartbeats of one stream; under 15, including the time to send it.
        patience: how long a write may be stuck before its stream is aborted.
        window: how long an event is replayed to new streams.
        grace: how long an ended stream has to take its last bytes.
        resync_earliest: shortest delay before a resync, in which an SDK may fetch by itself.
        resync_latest: longest delay before a resync.
    """

    slot: float = 0.022
    heartbeat: float = 14.0
    patience: float = 30.0
    window: float = 120.0
    grace: float = 0.5
    resync_earliest: float = 5.0
    resync_latest: float = 60.0


class Sender:
    """Writes to streams, at most once per stream and slot, taking turns between channels.

    An open stream is idle or ready in its channel, or waits here for its slot, or is stuck: its last write
    has not been sent. Only the stream is queued, never data; what it gets is looked up when its turn comes.
    """

    def __init__(self, clock: Clock, pace: Intervals) -> None:
        self._clock = clock
        self._pace = pace
        self._slot = pace.slot
        self._scheduled: deque[Channel] = deque()
        self._ending: dict[Stream, None] = {}
        self._work = asyncio.Event()
        self._waiting: deque[Stream] = deque()
        self._waits = asyncio.Event()
        self._stuck: dict[Stream, float] = {}
        self._wheel = HeartbeatWheel(_HEARTBEAT_SLOTS)

    def open(self, channel: Channel, stream: Stream, head: bytes) -> None:
        """Write the response head and a first heartbeat: some SDKs count as connected only then."""
        self._wheel.add(stream)
        stream.take_over(self._pace.patience)
        self._write(channel, stream, head + HEARTBEAT_CHUNK, self._clock.monotonic())

    def schedule(self, channel: Channel) -> None:
        """Serve ``channel`` in turn with the others."""
        if not channel.scheduled:
            channel.scheduled = True
            self._scheduled.append(channel)
            self._work.set()

    def drained(self, stream: Stream) -> None:
        """Resume a stream that was stuck."""
        if not stream.ending:
            self._stuck.pop(stream, None)
            self._wait(stream)

    def forget(self, stream: Stream) -> None:
        """Drop a stream whose connection has closed."""
        self._stuck.pop(stream, None)
        self._ending.pop(stream, None)
        self._wheel.discard(stream)

    def end(self, streams: Iterable[Stream], reason: str) -> None:
        """End ``streams``: nothing more is sent on them except the end of the response."""
        for stream in streams:
            if not stream.ending:
                stream.ending = reason
                self._ending[stream] = None
        if self._ending:
            self._work.set()

    async def serve(self) -> None:
        """Write to the streams whose turn has come, a slice per turn of the event loop, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._scheduled or self._ending:
                self._end_streams()
                if self._scheduled:
                    self._serve_slice(self._scheduled.popleft())
                await asyncio.sleep(0)

    def _end_streams(self) -> None:
        now = self._clock.monotonic()
        for _ in range(min(_SLICE, len(self._ending))):
            stream, _ = self._ending.popitem()
            # A client that does not read the end is aborted like any stuck stream.
            self._stuck.setdefault(stream, now)
            stream.finish()

    def _serve_slice(self, channel: Channel) -> None:
        """Write once to each stream in a slice of the ready ones, unless its slot is not due."""
        now = self._clock.monotonic()
        ready = channel.ready
        sent = 0
        for _ in range(min(_SLICE, len(ready))):
            stream = ready.popleft()
            if stream.ending:
                continue
            if stream.due > now:
                self._wait(stream)
            elif stream.beat:
                stream.beat = False
                self._write(channel, stream, HEARTBEAT_CHUNK, now)
            elif (batch := channel.next(stream)) is not None:
                self._write(channel, stream, batch.data, now)
                sent += batch.events
            else:
                channel.idle.add(stream)
        if sent:
            channel.sent.inc(sent)
        channel.scheduled = False
        if ready:
            self.schedule(channel)

    def _write(self, channel: Channel, stream: Stream, data: bytes, now: float) -> None:
        stream.due = now + self._slot
        stream.write(data)
        if stream.stuck:
            self._stuck[stream] = now
        elif stream.position == channel.recent.end and stream.resync is None:
            channel.idle.add(stream)
        else:
            self._wait(stream)

    def _wait(self, stream: Stream) -> None:
        self._waiting.append(stream)
        self._waits.set()

    async def wake_due(self) -> None:
        """Wake the streams whose slot has come, until cancelled."""
        while True:
            await self._waits.wait()
            while self._waiting:
                pause = self._wake()
                if pause > 0:
                    await self._clock.sleep(pause)
            self._waits.clear()

    def _wake(self) -> float:
        """Wake the streams whose slot is due; returns the seconds until the next one, 0 if none waits.

        The queue is ordered by last write to within one slot, so no stream waits longer than two slots.
        """
        now = self._clock.monotonic()
        while self._waiting:
            stream = self._waiting[0]
            if stream.due > now:
                return stream.due - now
            self._waiting.popleft()
            stream.owner.wake(stream)
        return 0.0

    async def beat(self) -> None:
        """Send heartbeats, and abort stuck streams, until cancelled."""
        tick = self._pace.heartbeat / _HEARTBEAT_SLOTS
        due = self._clock.monotonic() + tick
        while True:
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            now = self._clock.monotonic()
            due = max(due, now - self._pace.heartbeat)  # after a long pause, one round is enough
            while due <= now:
                self._beat_slot()
                due += tick
            self._abort_stuck(now - self._pace.patience)

    def _beat_slot(self) -> None:
        for stream in self._wheel.turn():
            stream.owner.beat(stream)

    def _abort_stuck(self, since: float) -> None:
        """Abort the streams that have been stuck since ``since`` or longer."""
        while self._stuck:
            stream, stuck = next(iter(self._stuck.items()))
            if stuck > since:
                break
            del self._stuck[stream]
            stream.ending = stream.ending or "stalled"
            stream.abort()
