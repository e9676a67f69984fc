"""The event stream decoder, case by case."""

import pytest

from ff_proxy.errors import UpstreamMalformed
from ff_proxy.upstream.sse import SseDecoder, SseRecord


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_record(end: str) -> None:
    """Every line end there is."""
    text = f'event: *{end}data: {{"a":1}}{end}{end}'
    assert SseDecoder().feed(text.encode()) == [SseRecord("*", '{"a":1}')]


def test_record_without_a_name_is_a_message() -> None:
    """The default of the format."""
    assert SseDecoder().feed(b"data:x\n\n") == [SseRecord("message", "x")]


def test_data_lines_are_joined() -> None:
    """One space after the colon is not part of the text."""
    assert SseDecoder().feed(b"data:  a\ndata:b\ndata\n\n") == [SseRecord("message", " a\nb\n")]


def test_no_data_no_record() -> None:
    """An event name alone is nothing, and is forgotten."""
    assert SseDecoder().feed(b"event: x\n\ndata: 1\n\n") == [SseRecord("message", "1")]


def test_other_fields_are_ignored() -> None:
    """We obey no id and no retry."""
    assert SseDecoder().feed(b"id: 7\nretry: 1\nfoo: b\ndata: 1\n\n") == [SseRecord("message", "1")]


def test_byte_order_mark() -> None:
    """Only the first one is none of the text."""
    assert SseDecoder().feed(b"\xef\xbb\xbfdata: 1\n\n") == [SseRecord("message", "1")]


def test_broken_utf8_is_replaced() -> None:
    """One bad byte costs one character."""
    assert SseDecoder().feed(b"data: \xff\n\n") == [SseRecord("message", "\ufffd")]


def test_unfinished_record_waits() -> None:
    """A record counts when its blank line is there."""
    decoder = SseDecoder()
    assert decoder.feed(b"data: 1\n") == []
    assert decoder.feed(b"\n") == [SseRecord("message", "1")]


def test_life_signs() -> None:
    """Comments and records are signs of life, blank lines are not."""
    decoder = SseDecoder()
    decoder.feed(b"\n\r\n")
    assert decoder.life_signs == 0
    decoder.feed(b":\n\n")
    assert decoder.life_signs == 1
    decoder.feed(b"data: 1\n\n: hi\n")
    assert decoder.life_signs == 3


@pytest.mark.parametrize("junk", [b"x" * 100, b"data: aaaaaaa\n" * 10, b"id: 1\n" * 30])
def test_endless_record_is_given_up(junk: bytes) -> None:
    """Neither a line nor a record grows without bound."""
    decoder = SseDecoder(limit=64)

    def feed_all() -> None:
        for at in range(0, len(junk), 8):
            decoder.feed(junk[at : at + 8])

    with pytest.raises(UpstreamMalformed):
        feed_all()


def test_comments_do_not_add_up() -> None:
    """A stream of heartbeats lasts for ever."""
    decoder = SseDecoder(limit=64)
    for _ in range(100):
        decoder.feed(b": still here\n\n")
    for _ in range(100):
        decoder.feed(b": one line\n")
    assert decoder.life_signs == 200
