"""The short way to read a head finds what the long way finds, or nothing."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ff_proxy.errors import RequestError
from ff_proxy.http.parser import Head, RequestParser
from ff_proxy.http.whole_heads import END, LONGEST, WholeHeads
from tests.support.thorough import examples

GOOD = (
    b"GET /client/env/e/feature-configs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nX-Trace: 1\r\n\r\n"
)
NAMES = [
    "Host",
    "host",
    "X-A",
    "x-a",
    "Authorization",
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "Upgrade",
    "If-None-Match",
]
VALUES = [
    "",
    "a",
    " a \t",
    "0",
    "1",
    "keep-alive",
    "Keep-Alive",
    "close",
    "upgrade",
    "keep-alive, upgrade",
    "chunked",
    "100-continue",
    "\xe9",
]
LINES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(NAMES),
    st.sampled_from([": ", ":", ":\t", " : "]),
    st.sampled_from(VALUES),
    st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r\n folded\r\n"]),
)
HEADS = st.builds(
    "{}{} {}{}{}\r\n\r\n".format,
    st.sampled_from(["", "", "\r\n"]),
    st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "CONNECT", "PRI", "get"]),
    st.sampled_from(["/", "/a?b=%20", "*", "http://x/y", "/\xe9", "x:443", ""]),
    st.sampled_from([" HTTP/1.1", " HTTP/1.0", " HTTP/2.0", " HTTP/0.9", "", " HTTP/1.1 "]),
    st.lists(LINES, max_size=5).map(lambda lines: "\r\n" + "".join(lines)[:-2] if lines else ""),
)


@pytest.fixture(scope="module")
def reader() -> WholeHeads:
    """One for all: what it was given before must not matter."""
    return WholeHeads()


def read_slowly(data: bytes) -> Head | None:
    """The only request in ``data``, if there is one and it is complete."""
    parser = RequestParser(128, LONGEST)
    try:
        parser.feed(data)
    except RequestError:
        return None
    return parser.heads[0] if len(parser.heads) == 1 and parser.between and not parser.last else None


def parts(head: Head | None) -> object:
    """What a head says."""
    return head and (head.method, head.target, head.fields, head.body, head.http_1_0, head.close)


@settings(max_examples=examples(6), deadline=None)
@given(
    st.lists(HEADS.map(lambda head: head.encode("latin-1")) | st.binary(max_size=40), min_size=1, max_size=2)
)
@example([GOOD, GOOD])
@example([b"GET / HTTP/1.1\r\nA: b\r\nA: c\r\n\r\n"])
@example([b"GET / HTTP/1.1\r\nA: b\r\na: c\r\n\r\n"])
@example([b"PRI * HTTP/2.0\r\n\r\n"])
def test_two_readers_agree(reader: WholeHeads, heads: list[bytes]) -> None:
    """For one head, several at once, nonsense; and the next request is read as if nothing had been."""
    data = b"".join(heads)
    if not data.endswith(END):
        data += END
    found = reader.read(data)
    if found is not None:
        assert parts(found) == parts(read_slowly(data))
        assert found.whole
    assert parts(reader.read(GOOD)) == parts(read_slowly(GOOD)) is not None


@pytest.mark.parametrize("connection", ["", "Connection: keep-alive\r\n", "Connection: Keep-Alive\r\n"])
@pytest.mark.parametrize("fields", ["", "Host: x\r\nX-A:b \r\nx-b:  c\r\n", "If-None-Match:\r\n"])
def test_what_sdks_send_is_read(reader: WholeHeads, fields: str, connection: str) -> None:
    """Nothing but speed would be lost if it were not, and nobody would notice."""
    assert reader.read(f"GET /a?b HTTP/1.1\r\n{fields}{connection}\r\n".encode()) is not None
