"""What open streams are sent and when: on a clock and transports that the test owns."""

import asyncio

from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.streams.framing import WRITE_LIMIT
from ff_proxy.streams.hub import Hub
from ff_proxy.streams.sender import Intervals
from ff_proxy.telemetry import Telemetry
from tests.support.clock import FakeClock
from tests.support.configs import KEY, config, flag
from tests.support.metrics import metric_sum
from tests.support.streams import GOODBYE, HEAD, HEARTBEAT, FakeSnapshots, Opened, open_fake, running

OTHER = EnvironmentId("00000000-0000-0000-0000-00000000beef")
SLOT = Intervals().slot


def figure(telemetry: Telemetry, name: str) -> float:
    """The sum of a Prometheus figure; 0 if there is none."""
    return metric_sum(telemetry.exposition().decode(), name)


async def test_the_head_and_a_heartbeat_are_sent_at_once(hub: Hub) -> None:
    """Go and JavaScript SDKs count a stream as connected only after the first record."""
    stream = open_fake(hub)
    assert stream.transport.writes == [HEAD + HEARTBEAT]
    assert len(hub) == 1


async def test_a_change_reaches_an_idle_stream_without_waiting(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """Once the slot of its last write has passed, an idle stream is told at once."""
    stream = open_fake(hub)
    await clock.advance(1)
    snapshots.put(config(flag("a", version=2), flag("b")))
    await clock.settle()
    assert stream.transport.events == [("patch", "a", 2)]


async def test_all_streams_share_the_same_bytes(hub: Hub, snapshots: FakeSnapshots, clock: FakeClock) -> None:
    """One shared object per event, whatever the number of streams."""
    streams = [open_fake(hub) for _ in range(1000)]
    await clock.advance(1.1)
    snapshots.put(config(flag("a", version=2), flag("b")))
    await clock.settle()
    written = [stream.transport.writes[-1] for stream in streams]
    assert b'"a"' in written[0]
    assert len({id(data) for data in written}) == 1


async def test_an_event_keeps_its_distance_from_a_heartbeat(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """NODE loses an event that arrives together with a heartbeat: a slot lies between the writes."""
    stream = open_fake(hub)
    snapshots.put(config(flag("a", version=2), flag("b")))
    await clock.advance(SLOT * 0.9)
    assert len(stream.transport.writes) == 1
    await clock.advance(SLOT * 0.2)
    assert stream.transport.events == [("patch", "a", 2)]


async def test_a_heartbeat_keeps_its_distance_from_an_event(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """The other way round, and never in one write."""
    streams = [open_fake(hub) for _ in range(56)]
    version = 1
    for _ in range(400):
        version += 1
        snapshots.put(config(flag("a", version=version), flag("b")))
        await clock.advance(0.05)
    for stream in streams:
        writes = stream.transport.writes[1:]
        assert HEARTBEAT in writes
        assert all(data == HEARTBEAT or HEARTBEAT not in data for data in writes)
        assert stream.transport.events[-1] == ("patch", "a", version)


async def test_every_stream_has_a_heartbeat_at_least_every_fifteen_seconds(
    hub: Hub, clock: FakeClock
) -> None:
    """The first within the period of opening, and then regularly."""
    streams = [open_fake(hub) for _ in range(60)]
    for _ in range(4):
        for stream in streams:
            stream.transport.writes.clear()
        await clock.advance(15)
        assert all(set(stream.transport.writes) == {HEARTBEAT} for stream in streams)


async def test_heartbeats_are_spread_over_the_period(hub: Hub, clock: FakeClock) -> None:
    """Streams opened together get heartbeats at different times."""
    streams = [open_fake(hub) for _ in range(560)]
    beaten = []
    for _ in range(141):
        before = sum(len(stream.transport.writes) for stream in streams)
        await clock.advance(0.1)
        beaten.append(sum(len(stream.transport.writes) for stream in streams) - before)
    assert all(HEARTBEAT in stream.transport.writes for stream in streams)
    assert max(beaten) <= 10


async def test_a_burst_is_sent_completely_in_bounded_writes(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """Many changes go out in writes of about 1 KB, one per slot."""
    stream = open_fake(hub)
    await clock.advance(1)
    names = [f"flag-{number:03}" for number in range(100)]
    snapshots.put(config(*map(flag, names)))
    await clock.advance(SLOT * 20)
    created = [identifier for event, identifier, _ in stream.transport.events if event == "create"]
    assert created == names
    assert all(len(data) <= WRITE_LIMIT for data in stream.transport.writes[1:])


async def test_a_stream_is_written_to_once_per_slot(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """Also when there is more to say."""
    stream = open_fake(hub)
    await clock.advance(1)
    snapshots.put(config(*(flag(f"flag-{number:03}") for number in range(100))))
    for _ in range(5):
        before = len(stream.transport.writes)
        await clock.advance(SLOT * 0.9)
        assert len(stream.transport.writes) - before <= 1


async def test_a_busy_stream_is_not_written_to(hub: Hub, snapshots: FakeSnapshots, clock: FakeClock) -> None:
    """The next write waits for the last one, and then has only the newest event of each item."""
    stream = open_fake(hub)
    await clock.advance(1)
    stream.transport.blocked = True
    snapshots.put(config(flag("a", version=2), flag("b")))
    await clock.settle()
    for version in (3, 4):
        snapshots.put(config(flag("a", version=version), flag("b", version=2)))
        await clock.advance(1)
    assert stream.transport.events == [("patch", "a", 2)]
    stream.transport.unblock()
    await clock.advance(SLOT)
    assert stream.transport.events == [("patch", "a", 2), ("patch", "b", 2), ("patch", "a", 4)]


async def test_a_removed_item_ends_with_a_delete(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """A queued patch of a removed item is not sent: the Node SDK would fetch it forever."""
    stream = open_fake(hub)
    await clock.advance(1)
    stream.transport.blocked = True
    snapshots.put(config(flag("a", version=2), flag("b")))
    await clock.settle()
    snapshots.put(config(flag("a", version=2), flag("b", version=2)))
    snapshots.put(config(flag("a", version=2)))
    stream.transport.unblock()
    await clock.advance(SLOT)
    assert [event[:2] for event in stream.transport.events] == [("patch", "a"), ("delete", "b")]


async def test_a_stuck_reader_is_aborted(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock, telemetry: Telemetry
) -> None:
    """After 30 seconds, and it is counted."""
    stream = open_fake(hub, blocked=True)
    await clock.advance(29)
    assert not stream.transport.ended()
    snapshots.put(config(flag("a", version=2), flag("b")))
    await clock.advance(1.5)
    assert (stream.transport.ended(), stream.closings, len(hub)) == ("aborted", 1, 0)
    assert figure(telemetry, "ff_proxy_sse_stream_close") == 1
    assert 'reason="stalled"' in telemetry.exposition().decode()


async def test_a_slow_reader_stays_connected(hub: Hub, snapshots: FakeSnapshots, clock: FakeClock) -> None:
    """Being slow is no offence, and nothing is lost by it."""
    stream = open_fake(hub)
    for version in range(2, 8):
        stream.transport.blocked = True
        snapshots.put(config(flag("a", version=version), flag("b")))
        await clock.advance(25)
        stream.transport.unblock()
        await clock.advance(1)
    assert not stream.transport.ended()
    assert stream.transport.events[-1] == ("patch", "a", 7)


async def test_no_stream_gets_events_of_another_environment(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """Neither live nor replayed."""
    snapshots.put(config(flag("secret"), environment=OTHER, keys=("other",)))
    here, there = open_fake(hub), open_fake(hub, OTHER)
    await clock.advance(1)
    snapshots.put(config(flag("secret", version=2), environment=OTHER, keys=("other",)))
    await clock.advance(1)
    late = open_fake(hub)
    await clock.advance(1)
    assert there.transport.events == [("patch", "secret", 2)]
    assert here.transport.events == late.transport.events == []


async def test_a_revoked_key_ends_its_streams_and_no_others(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock, telemetry: Telemetry
) -> None:
    """Cleanly: the terminating chunk, then the connection; nothing more is told before it."""
    snapshots.put(config(flag("a"), keys=(KEY, "second")))
    await clock.advance(200)
    streams = {key: open_fake(hub, key=hash_key(key)) for key in (KEY, "second")}
    streams["none"] = open_fake(hub, key=None)
    await clock.advance(1)
    snapshots.put(config(flag("a", version=2), keys=(KEY,)))
    await clock.advance(1)
    revoked = streams.pop("second")
    assert revoked.transport.writes == [HEAD + HEARTBEAT, GOODBYE]
    assert (revoked.transport.ended(), revoked.closings) == ("closed", 1)
    for stream in streams.values():
        assert not stream.transport.ended()
        assert stream.transport.events == [("patch", "a", 2)]
    assert 'reason="revoked"} 1.0' in telemetry.exposition().decode()


async def test_a_removed_environment_ends_its_streams(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """And only those; a new life of the environment starts without a past."""
    snapshots.put(config(flag("x"), environment=OTHER, keys=("other",)))
    here, there = open_fake(hub), open_fake(hub, OTHER)
    await clock.advance(1)
    snapshots.put(config(flag("x", version=2), environment=OTHER, keys=("other",)))
    snapshots.remove(OTHER)
    await clock.advance(1)
    assert (there.transport.writes[-1], there.transport.ended()) == (GOODBYE, "closed")
    assert not here.transport.ended()
    snapshots.put(config(flag("y"), environment=OTHER, keys=("other",)))
    again = open_fake(hub, OTHER)
    await clock.advance(1)
    assert again.transport.events == []


async def test_a_disconnected_client_is_dropped(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock, telemetry: Telemetry
) -> None:
    """Whatever was under way for it."""
    streams = [open_fake(hub, blocked=number == 0) for number in range(3)]
    assert figure(telemetry, "ff_proxy_sdk_streams") == 3
    snapshots.put(config(flag("a", version=2), flag("b")))
    for stream in streams:
        stream.transport.leave()
    await clock.advance(20)
    assert [stream.closings for stream in streams] == [1, 1, 1]
    assert all(len(stream.transport.writes) == 1 for stream in streams)
    assert figure(telemetry, "ff_proxy_sdk_streams") == 0
    assert 'reason="left"} 3.0' in telemetry.exposition().decode()
    assert not hub._sender._waiting
    assert not hub._sender._stuck
    assert not any(hub._sender._wheel._slots)


async def test_a_peer_the_kernel_gave_up_on_is_counted_as_stalled(hub: Hub, telemetry: Telemetry) -> None:
    """TCP_USER_TIMEOUT ends a connection whose peer acknowledges nothing."""
    open_fake(hub).transport.leave(TimeoutError())
    assert 'reason="stalled"} 1.0' in telemetry.exposition().decode()


async def test_events_are_counted_per_stream(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock, telemetry: Telemetry
) -> None:
    """One event to three streams is three; heartbeats are none."""
    for _ in range(3):
        open_fake(hub)
    await clock.advance(20)
    snapshots.put(config(flag("a", version=2), flag("b")))
    await clock.advance(1)
    assert figure(telemetry, "ff_proxy_sse_publish") == 3


async def test_a_drain_spreads_the_ends_over_its_time(hub: Hub, clock: FakeClock) -> None:
    """SDKs that reconnect at once (Java, .NET) must not all do so together."""
    streams = [open_fake(hub) for _ in range(100)]
    left = []
    async with running(lambda: hub.drain(3)):
        for _ in range(10):
            await clock.advance(0.3)
            left.append(len(hub))
        await clock.advance(1)
    for step, number in enumerate(left[:-1], start=1):
        assert abs(number - (100 - 10 * step)) <= 3
    assert all(stream.transport.writes[-1] == GOODBYE for stream in streams)
    assert all(stream.transport.ended() == "closed" for stream in streams)


async def test_a_drain_also_ends_streams_opened_meanwhile(hub: Hub, clock: FakeClock) -> None:
    """They are accepted, and end with the last ones, since some SDKs reconnect at once."""
    streams: list[Opened] = []
    async with running(lambda: hub.drain(3)):
        for _ in range(29):
            await clock.advance(0.1)
            streams.append(open_fake(hub))
        assert {stream.transport.ended() for stream in streams} == {""}
        await clock.advance(1)
    assert {stream.transport.ended() for stream in streams} == {"closed"}
    assert len(hub) == 0


async def test_a_drain_aborts_stuck_streams(hub: Hub, clock: FakeClock) -> None:
    """Shortly after the time is up no stream is open."""
    stuck = open_fake(hub, blocked=True)
    async with running(lambda: hub.drain(3)):
        await clock.advance(3.1)
        assert not stuck.transport.ended()
        await clock.advance(0.6)
    assert stuck.transport.ended() == "aborted"


async def test_requests_get_their_turn_during_a_broadcast(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """Streams are served in slices: one turn of the loop reaches a hundred at most."""
    streams = [open_fake(hub) for _ in range(1000)]
    await clock.advance(1.1)
    snapshots.put(config(flag("a", version=2), flag("b")))
    told = [0]
    while told[-1] < 1000:
        await asyncio.sleep(0)
        told.append(sum(bool(stream.transport.events) for stream in streams))
        assert told[-1] - told[-2] <= 100


async def test_a_small_environment_is_not_delayed_by_a_large_one(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """Environments take turns, slice by slice."""
    snapshots.put(config(flag("x"), environment=OTHER, keys=("other",)))
    large = [open_fake(hub) for _ in range(1500)]
    small = open_fake(hub, OTHER)
    await clock.advance(1.1)
    snapshots.put(config(flag("a", version=2), flag("b")))
    snapshots.put(config(flag("x", version=2), environment=OTHER, keys=("other",)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert small.transport.events
    assert not all(stream.transport.events for stream in large)


async def test_bytes_after_the_request_are_ignored_up_to_a_limit(hub: Hub) -> None:
    """Beyond it the stream is aborted."""
    opened = open_fake(hub)
    protocol = opened.transport._told
    protocol.data_received(b"x" * 65536)
    assert not opened.transport.ended()
    protocol.data_received(b"x")
    assert opened.transport.ended() == "aborted"


async def test_a_half_closed_client_is_disconnected(hub: Hub) -> None:
    """EOF from the client ends the stream: ``eof_received`` makes the transport close."""
    assert not open_fake(hub).transport._told.eof_received()
