"""Events: what is read from SaaS, and the exact bytes SDKs are sent."""

import json

import pytest

from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.wire.events import HEARTBEAT, UnusableEvent, event_record, read_event


def test_record_is_byte_exact() -> None:
    """The one form that every SDK reads."""
    change = Change(Action.PATCH, Domain.FLAG, "f1", 7)
    expected = b'event: *\ndata: {"event":"patch","domain":"flag","identifier":"f1","version":7}\n\n'
    assert event_record(change) == expected


def test_record_of_a_segment_names_the_wire_domain() -> None:
    """A target group is a target-segment on the wire."""
    record = event_record(Change(Action.DELETE, Domain.SEGMENT, "g", 2))
    assert b'"event":"delete","domain":"target-segment"' in record


@pytest.mark.parametrize("identifier", ["groß", "旗", "🚩", "a\nb", 'a"b', "\ud800"])
def test_record_is_one_ascii_line(identifier: str) -> None:
    """Whatever the identifier, the data stays one ASCII line that decodes to it."""
    record = event_record(Change(Action.CREATE, Domain.FLAG, identifier, 1))
    lines = record.decode("ascii").split("\n")
    assert lines[0] == "event: *"
    assert lines[2:] == ["", ""]
    assert json.loads(lines[1].removeprefix("data: "))["identifier"] == identifier


@pytest.mark.parametrize(
    ("version", "sent"),
    [(2**31 - 1, 2**31 - 1), (2**31, 2**31 - 1), (10**18, 2**31 - 1), (-(2**40), -(2**31))],
)
def test_record_clamps_the_version(version: int, sent: int) -> None:
    """The Java SDK gives up its stream on an integer overflow."""
    record = event_record(Change(Action.PATCH, Domain.FLAG, "f", version))
    assert f'"version":{sent}}}'.encode() in record


def test_heartbeat_is_an_empty_comment() -> None:
    """A comment with text would not count for the Go SDK."""
    assert HEARTBEAT == b":\n\n"


def test_reads_a_saas_event() -> None:
    """Extra fields are ignored."""
    data = '{"event":"create","domain":"target-segment","identifier":"g","version":3,"environment":"e"}'
    assert read_event(data) == Change(Action.CREATE, Domain.SEGMENT, "g", 3)


def test_reads_what_it_writes() -> None:
    """Both directions agree."""
    change = Change(Action.DELETE, Domain.FLAG, "f", 9)
    data = event_record(change).split(b"data: ")[1].rstrip(b"\n")
    assert read_event(data) == change


def test_unknown_action_is_a_patch() -> None:
    """What we do not know may still have changed the item."""
    assert read_event('{"event":"moved","domain":"flag","identifier":"f","version":1}') == Change(
        Action.PATCH, Domain.FLAG, "f", 1
    )


@pytest.mark.parametrize("version", ["null", '"7"', "1.5", "true", "[]"])
def test_unusable_version_is_zero(version: str) -> None:
    """The version of an event is a hint only."""
    change = read_event(f'{{"event":"patch","domain":"flag","identifier":"f","version":{version}}}')
    assert change == Change(Action.PATCH, Domain.FLAG, "f", 0)


def test_missing_action_and_version() -> None:
    """The item alone is enough to fetch it."""
    assert read_event('{"domain":"flag","identifier":"f"}') == Change(Action.PATCH, Domain.FLAG, "f", 0)


def test_other_domains_are_foreign() -> None:
    """Messages between proxies are none of our business."""
    assert read_event('{"event":"apiKeyAdded","domain":"proxy","identifier":"x"}') is UnusableEvent.FOREIGN


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "null",
        "[]",
        '"flag"',
        "{}",
        '{"domain":null,"identifier":"f"}',
        '{"domain":["flag"],"identifier":"f"}',
        '{"domain":"flag"}',
        '{"domain":"flag","identifier":""}',
        '{"domain":"flag","identifier":7}',
        '{"domain":"flag","identifier":"\\ud800"}',
        b"\xff",
        "\ud800",
        "[" * 100_000,
    ],
)
def test_malformed_data_never_raises(data: str | bytes) -> None:
    """Nothing that SaaS or a middlebox sends ends the stream's reader."""
    assert read_event(data) is UnusableEvent.MALFORMED
