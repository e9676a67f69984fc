"""What a stream that opens is told of what has happened before."""

import random

import msgspec
import pytest

from ff_proxy.model.environment import Domain, Item
from ff_proxy.streams.hub import Hub
from ff_proxy.streams.list_reads import ListReads
from ff_proxy.streams.sender import Intervals
from ff_proxy.telemetry import Telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag, segment
from tests.support.streams import HEAD, HEARTBEAT, FakeSnapshots, open_fake, running

SLOT = Intervals().slot


async def test_recent_events_are_replayed_to_a_new_stream(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """PY, NODE and others do not fetch when they connect: they are told what they missed."""
    snapshots.put(config(flag("a", version=2), flag("b")))
    snapshots.put(config(flag("a", version=3)))
    await clock.advance(119)
    stream = open_fake(hub)
    assert stream.transport.writes == [HEAD + HEARTBEAT]
    await clock.advance(SLOT)
    assert [event[:2] for event in stream.transport.events] == [("patch", "a"), ("delete", "b")]


async def test_older_events_are_not_replayed(hub: Hub, snapshots: FakeSnapshots, clock: FakeClock) -> None:
    """120 seconds, plus or minus one."""
    snapshots.put(config(flag("a", version=2), flag("b")))
    await clock.advance(122)
    stream = open_fake(hub)
    await clock.advance(1)
    assert stream.transport.events == []


async def test_changes_before_the_first_stream_are_replayed(
    snapshots: FakeSnapshots, clock: FakeClock, telemetry: Telemetry
) -> None:
    """The hub remembers from its construction on, also before it runs."""
    hub = Hub(snapshots, ListReads(100_000), clock, telemetry, random.Random(1))
    snapshots.put(config(flag("a", version=2), flag("b")))
    async with running(hub.run):
        stream = open_fake(hub)
        await clock.advance(SLOT)
        assert stream.transport.events == [("patch", "a", 2)]


def newly_loaded(snapshots: FakeSnapshots, clock: FakeClock, *items: Item) -> None:
    """The environment as a process holds it that has just fetched it."""
    held = config(*items)
    snapshots.put(msgspec.structs.replace(held, since=clock.wall()))


async def test_a_server_sdk_with_an_older_token_gets_a_resync_later(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """It may have fetched from a process that knew less; one that polls after the cut needs nothing."""
    snapshots.remove(ENVIRONMENT)
    newly_loaded(snapshots, clock, *(flag(f"flag-{number:02}") for number in range(30)), segment("beta"))
    older = open_fake(hub, token=b"old", issued_at=clock.wall() - 1)
    same = open_fake(hub, token=b"new", issued_at=clock.wall())
    tokenless = open_fake(hub)
    await clock.advance(5)
    assert older.transport.events == []
    await clock.advance(57)
    assert older.transport.events == [
        ("patch", "beta", 1),
        *(("patch", f"flag-{number:02}", 1) for number in range(30)),
    ]
    assert same.transport.events == tokenless.transport.events == []


@pytest.mark.parametrize("client", [True, False])
async def test_a_token_of_the_second_before_the_data_is_older(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock, client: bool
) -> None:
    """A proxy can restart within the second in which an SDK has authenticated."""
    await clock.advance(0.9)
    before = clock.wall()
    await clock.advance(0.05)
    snapshots.remove(ENVIRONMENT)
    newly_loaded(snapshots, clock, flag("a"), segment("beta"))
    stream = open_fake(hub, token=b"old", issued_at=before, client=client)
    newer = open_fake(hub, token=b"new", issued_at=clock.wall(), client=client)
    await clock.advance(62)
    assert ("patch", "beta", 1) in stream.transport.events
    assert newer.transport.events == []


@pytest.mark.parametrize("client", [True, False])
async def test_an_sdk_that_has_fetched_both_lists_gets_nothing(
    hub: Hub, lists: ListReads, snapshots: FakeSnapshots, clock: FakeClock, client: bool
) -> None:
    """One list is not enough."""
    snapshots.remove(ENVIRONMENT)
    newly_loaded(snapshots, clock, flag("a"), segment("beta"))
    for token, domains in ((b"both", Domain), (b"one", [Domain.FLAG]), (b"none", ())):
        for domain in domains:
            lists.note(token, domain)
    streams = {
        token: open_fake(hub, token=token, issued_at=clock.wall() - 9, client=client)
        for token in (b"both", b"one", b"none")
    }
    await clock.advance(65)
    everything = [("patch", "beta", 1)] if client else [("patch", "beta", 1), ("patch", "a", 1)]
    assert {token: stream.transport.events for token, stream in streams.items()} == {
        b"both": [],
        b"one": everything,
        b"none": everything,
    }


async def test_fetching_both_lists_ends_a_resync(
    hub: Hub, lists: ListReads, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """Before it begins, or in the middle of it."""
    snapshots.remove(ENVIRONMENT)
    newly_loaded(snapshots, clock, *(flag(f"flag-{number:03}") for number in range(500)))
    early = open_fake(hub, token=b"early", issued_at=0)
    late = open_fake(hub, token=b"late", issued_at=0)
    for domain in Domain:
        lists.note(b"early", domain)
    while not late.transport.events:
        await clock.advance(SLOT)
    for domain in Domain:
        lists.note(b"late", domain)
    await clock.advance(60)
    assert early.transport.events == []
    assert 0 < len(late.transport.events) < 100


async def test_a_client_sdk_with_an_older_token_gets_one_event(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """One that makes it fetch everything once, whether there is a segment or not (spec/sdk-wire#trap-53)."""
    snapshots.remove(ENVIRONMENT)
    newly_loaded(
        snapshots, clock, *(flag(f"flag-{number}") for number in range(9)), segment("beta", version=4)
    )
    stream = open_fake(hub, token=b"old", issued_at=0, client=True)
    await clock.advance(SLOT)
    assert stream.transport.events == [("patch", "beta", 4)]
    snapshots.remove(ENVIRONMENT)
    newly_loaded(snapshots, clock, flag("a"))
    without = open_fake(hub, token=b"old", issued_at=0, client=True)
    await clock.advance(90)
    assert without.transport.events == [("patch", ENVIRONMENT, 1)]


@pytest.mark.parametrize("items", [[flag("a")], [flag("a"), segment("beta", version=4)]])
async def test_that_event_is_sent_whatever_changes_before_it(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock, items: list[Item]
) -> None:
    """Not only while the data is what it was when the stream opened: else the SDK keeps its old values."""
    snapshots.remove(ENVIRONMENT)
    newly_loaded(snapshots, clock, *items)
    stream = open_fake(hub, token=b"old", issued_at=0, client=True)
    # The same with one more key: nothing that streams hear of.
    snapshots.put(config(*items, keys=(KEY, "another")))
    await clock.advance(90)
    assert len(stream.transport.events) == 1


async def test_events_older_than_the_token_are_not_replayed(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """The SDK authenticated, then fetched, then opened the stream."""
    snapshots.put(config(flag("a", version=2), flag("b")))
    await clock.advance(10)
    snapshots.put(config(flag("a", version=2), flag("b", version=2)))
    await clock.advance(10)
    fresh = open_fake(hub, token=b"fresh", issued_at=clock.wall() - 1)
    between = open_fake(hub, token=b"between", issued_at=clock.wall() - 15)
    old = open_fake(hub, token=b"old", issued_at=clock.wall() - 100)
    await clock.advance(1)
    assert fresh.transport.events == []
    assert between.transport.events == [("patch", "b", 2)]
    assert old.transport.events == [("patch", "a", 2), ("patch", "b", 2)]


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize(("ahead", "known"), [(1.5, True), (2.5, False), (3600, False)])
async def test_the_age_of_a_token_from_the_future_is_unknown(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock, client: bool, ahead: float, known: bool
) -> None:
    """A clock was set back, or that of another member is ahead: the SDK may have missed anything."""
    snapshots.remove(ENVIRONMENT)
    newly_loaded(snapshots, clock, flag("a"), flag("b"), segment("beta"))
    await clock.advance(1)
    snapshots.put(config(flag("a"), flag("b", version=2), segment("beta")))
    await clock.advance(10)
    stream = open_fake(hub, token=b"ahead", issued_at=clock.wall() + ahead, client=client)
    await clock.advance(62)
    rest = [("patch", "beta", 1)] if client else [("patch", "beta", 1), ("patch", "a", 1)]
    assert stream.transport.events == ([] if known else [("patch", "b", 2), *rest])


async def test_new_events_go_before_the_rest_of_a_resync(
    hub: Hub, snapshots: FakeSnapshots, clock: FakeClock
) -> None:
    """A change is not held up by catching up, and its item is not patched when it is gone."""
    names = [f"flag-{number:02}" for number in range(60)]
    held = config(*map(flag, names))
    snapshots.put(type(held)(held.info, held.flags, held.segments, held.keys, since=clock.wall() + 1))
    await clock.advance(130)
    stream = open_fake(hub, token=b"old", issued_at=clock.wall() - 200)
    while not stream.transport.events:
        await clock.advance(SLOT)
    snapshots.put(config(*map(flag, names[:-1])))
    await clock.advance(SLOT * 20)
    events = stream.transport.events
    gone = events.index(("delete", names[-1], 1))
    assert 0 < gone < 30
    assert [identifier for _, identifier, _ in events if identifier != names[-1]] == names[:-1]
