"""The event stream decoder: however the bytes are cut, the records are the same."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.upstream.sse import SseDecoder, SseRecord

_TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
_RECORDS = st.lists(
    st.tuples(_TEXT.map(str.strip), st.lists(_TEXT.map(str.strip), min_size=1, max_size=3)), max_size=6
)
_END = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[SseRecord]]:
    """A stream's bytes, and the records it holds."""
    text, records = "", []
    for event, data in draw(_RECORDS):
        lines = [f"event: {event}", *(f"data: {part}" for part in data)]
        if draw(st.booleans()):
            lines.insert(draw(st.integers(0, len(lines))), f":{draw(_TEXT)}")
        for line in [*lines, ""]:
            # A CR and the LF of a blank line after it would be one line end.
            text += line + draw(st.just("\r") if not line and text.endswith("\r") else _END)
        records.append(SseRecord(event or "message", "\n".join(data)))
    return text.encode(), records


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[list[bytes], list[SseRecord]]:
    """A stream in chunks, cut anywhere, also within a character or a CRLF."""
    text, records = draw(streams())
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    edges = [0, *cuts, len(text)]
    return [text[a:b] for a, b in pairwise(edges)], records


@given(cut_streams())
def test_split_anywhere(stream: tuple[list[bytes], list[SseRecord]]) -> None:
    """Chunks have no meaning."""
    chunks, expected = stream
    decoder = SseDecoder()
    assert [record for chunk in chunks for record in decoder.feed(chunk)] == expected


@given(streams())
def test_byte_by_byte(stream: tuple[bytes, list[SseRecord]]) -> None:
    """The smallest chunks there are."""
    text, expected = stream
    decoder = SseDecoder()
    assert [record for byte in text for record in decoder.feed(bytes([byte]))] == expected


@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes_decode(junk: bytes, size: int) -> None:
    """Junk yields records or nothing, in whole or in parts alike."""
    whole, parts = SseDecoder(), SseDecoder()
    in_parts = [record for at in range(0, len(junk), size) for record in parts.feed(junk[at : at + size])]
    assert whole.feed(junk) == in_parts
