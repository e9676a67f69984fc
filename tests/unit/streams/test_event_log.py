"""The queue and replay ring: newest per item, in order, in writes of a bounded size."""

from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.snapshots.snapshot import CompileOptions, Snapshot
from ff_proxy.streams.event_log import EventLog, Resync
from ff_proxy.streams.framing import WRITE_LIMIT, event_chunk
from tests.support.configs import config, flag, segment
from tests.support.streams import read_record, records

WRITE = ("write", Action.PATCH)
PRUNE = ("prune", Action.PATCH)


def change(
    identifier: str, version: int = 1, action: Action = Action.PATCH, domain: Domain = Domain.FLAG
) -> Change:
    """A change, of a flag unless said otherwise."""
    return Change(action, domain, identifier, version)


def append(recent: EventLog, change: Change, now: float) -> None:
    """As a channel does."""
    recent.append((change.domain, change.identifier), event_chunk(change), now)


def told(recent: EventLog, position: int) -> list[tuple[str, int]]:
    """Resync a stream at ``position`` is told, write by write."""
    heard = []
    while (batch := recent.after(position)) is not None:
        events = [read_record(record) for record in records(batch.data)]
        assert len(events) == batch.events
        assert batch.position > position
        heard += [(event["identifier"], event["version"]) for event in events]
        position = batch.position
    return heard


def test_events_after_a_position_are_in_order() -> None:
    """A stream gets the events that it has not seen, oldest first."""
    recent = EventLog(120)
    for name in "abc":
        append(recent, change(name), now=0)
    assert told(recent, recent.start) == [("a", 1), ("b", 1), ("c", 1)]
    assert told(recent, 1) == [("b", 1), ("c", 1)]
    assert recent.after(recent.end) is None


def test_a_newer_event_replaces_the_older_one() -> None:
    """A stream that lags gets only the newest event of an item."""
    recent = EventLog(120)
    append(recent, change("a", 1), now=0)
    append(recent, change("b", 1), now=0)
    append(recent, change("a", 2), now=0)
    assert told(recent, 0) == [("b", 1), ("a", 2)]
    assert len(recent) == 2


def test_a_flag_and_a_segment_of_one_name_are_two_items() -> None:
    """Events are conflated by domain and identifier."""
    recent = EventLog(120)
    append(recent, change("a", 1), now=0)
    append(recent, change("a", 2, domain=Domain.SEGMENT), now=0)
    assert told(recent, 0) == [("a", 1), ("a", 2)]


def test_streams_at_one_position_share_the_bytes() -> None:
    """Nothing is formatted or copied per stream."""
    recent = EventLog(120)
    append(recent, change("a"), now=0)
    first = recent.after(0)
    assert first is not None
    assert recent.after(0) is first


def test_a_write_holds_whole_records_within_the_limit() -> None:
    """Many events make several writes, each under the limit."""
    recent = EventLog(120)
    for number in range(50):
        append(recent, change(f"flag-{number}"), now=0)
    position, writes = 0, 0
    while (batch := recent.after(position)) is not None:
        assert len(batch.data) <= WRITE_LIMIT
        position, writes = batch.position, writes + 1
    assert 3 < writes < 25


def test_a_record_above_the_limit_is_written_alone() -> None:
    """No event is too large to be sent."""
    recent = EventLog(120)
    append(recent, change("x" * 2 * WRITE_LIMIT), now=0)
    append(recent, change("b"), now=0)
    batch = recent.after(0)
    assert batch is not None
    assert batch.events == 1
    assert told(recent, batch.position) == [("b", 1)]


def test_events_are_dropped_when_they_leave_the_window() -> None:
    """A new stream gets only the events of the last two minutes."""
    recent = EventLog(120)
    append(recent, change("a"), now=0)
    append(recent, change("b"), now=60)
    assert not recent.expired(119.9)
    assert recent.expired(120)
    recent.prune(120, floor=recent.end)
    assert told(recent, recent.start) == [("b", 1)]
    recent.prune(180, floor=recent.end)
    assert (len(recent), recent.start) == (0, recent.end)


def test_an_item_that_changed_again_is_kept() -> None:
    """The age of an item is that of its newest event."""
    recent = EventLog(120)
    append(recent, change("a", 1), now=0)
    append(recent, change("a", 2), now=100)
    recent.prune(120, floor=recent.end)
    assert told(recent, recent.start) == [("a", 2)]


def test_events_that_a_slow_stream_needs_are_kept() -> None:
    """They are not dropped by age alone."""
    recent = EventLog(120)
    append(recent, change("a"), now=0)
    append(recent, change("b"), now=0)
    recent.prune(500, floor=1)
    assert told(recent, 1) == [("b", 1)]


def test_an_item_that_keeps_changing_takes_no_extra_memory() -> None:
    """The log is bounded by the number of items, not of events."""
    recent = EventLog(120)
    append(recent, change("other"), now=0)
    for version in range(10_000):
        append(recent, change("a", version), now=0)
    assert len(recent._entries) < 200
    assert told(recent, 0) == [("other", 1), ("a", 9_999)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from(Action)),
            st.just(WRITE),
            st.just(PRUNE),
        ),
        max_size=200,
    )
)
def test_the_last_event_of_an_item_is_always_its_newest(
    steps: list[tuple[str, Action]],
) -> None:
    """Events and writes in any order: the final event per item is the newest, a gone item's a delete."""
    recent = EventLog(10)
    position = 0
    heard: dict[str, tuple[str, int]] = {}
    newest: dict[str, tuple[str, int]] = {}

    def write() -> None:
        nonlocal position
        batch = recent.after(position)
        if batch is None:
            return
        for event in map(read_record, records(batch.data)):
            before = heard.get(event["identifier"], ("", -1))
            assert event["version"] > before[1], "told twice, or of something older"
            heard[event["identifier"]] = (event["event"], event["version"])
        position = batch.position

    for now, step in enumerate(steps):
        if step == WRITE:
            write()
        elif step == PRUNE:
            recent.prune(now, floor=position)
        else:
            name, action = step
            append(recent, change(name, now, action), now)
            newest[name] = (action.value, now)
    while recent.after(position) is not None:
        write()
    assert heard == newest


def snapshot(*names: str, version: int = 1) -> Snapshot:
    """An environment of flags and one segment."""
    items = [flag(name, version=version) for name in names]
    return Snapshot(config(*items, segment("beta")), CompileOptions())


def test_a_full_resync_is_one_patch_per_segment_and_flag() -> None:
    """Segments come first, since flags use them."""
    held = snapshot("a", "b")
    everything = Resync.of_all_items(held, EventLog(120))
    batch = everything.after(0, held)
    assert batch is not None
    events = [read_record(record) for record in records(batch.data)]
    assert [(event["event"], event["domain"], event["identifier"]) for event in events] == [
        ("patch", "target-segment", "beta"),
        ("patch", "flag", "a"),
        ("patch", "flag", "b"),
    ]
    assert everything.after(batch.position, held) is None


def test_a_full_resync_leaves_out_items_with_recent_events() -> None:
    """They are not sent twice."""
    held = snapshot("a", "b")
    recent = EventLog(120)
    append(recent, change("a"), now=0)
    batch = Resync.of_all_items(held, recent).after(0, held)
    assert batch is not None
    assert [read_record(record)["identifier"] for record in records(batch.data)] == ["beta", "b"]


def test_a_full_resync_leaves_out_items_that_changed_meanwhile() -> None:
    """Never a patch of a deleted item or of an older version."""
    names = [f"flag-{number:02}" for number in range(40)]
    held = snapshot(*names)
    everything = Resync.of_all_items(held, EventLog(120))
    first = everything.after(0, held)
    assert first is not None
    current = Snapshot(config(flag(names[-1]), flag(names[-2], version=2)), CompileOptions())
    rest = everything.after(first.position, current)
    assert rest is not None
    assert [read_record(record)["identifier"] for record in records(rest.data)] == [names[-1]]
    assert everything.after(rest.position, current) is None


def test_an_event_is_one_chunk_around_one_record() -> None:
    """Readers of raw bytes find the record between its size and a line end."""
    data = event_chunk(change("a", 7))
    assert (
        data
        == b'4f\r\nevent: *\ndata: {"event":"patch","domain":"flag","identifier":"a","version":7}\n\n\r\n'
    )
