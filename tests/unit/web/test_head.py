"""Heads are read strictly, or not at all; and sifted for what matters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.web.head import EdgeHead, read_head, sifted_head, without_upgrade
from ff_proxy.web.sieve import Sieve, Sifted


def read(*fields: str, line: str = "GET /a?b HTTP/1.1") -> EdgeHead | None:
    """A head of ``line`` and ``fields``."""
    return read_head("".join(f"{text}\r\n" for text in (line, *fields, "")).encode("latin-1"))


def test_a_head_is_taken_apart() -> None:
    """Names in lower case, values without blanks around them, repeated ones joined."""
    found = read("Host:x", "ACCEPT: a ", "accept:\tb", "Empty:")
    assert found is not None
    assert (found.head.method, found.head.path, found.head.query) == ("GET", b"/a", b"b")
    assert found.head.fields == {b"host": b"x", b"accept": b"a, b", b"empty": b""}
    assert (found.close, found.old, found.length, found.simple) == (False, False, 0, True)


@pytest.mark.parametrize(
    ("line", "path", "query"),
    [
        ("GET / HTTP/1.1", b"/", b""),
        ("GET /a?b?c HTTP/1.1", b"/a", b"b?c"),
        ("GET http://h:1/a?b HTTP/1.1", b"/a", b"b"),
        ("GET HTTPS://h/ HTTP/1.1", b"/", b""),
        ("GET //h/a HTTP/1.1", b"//h/a", b""),
    ],
)
def test_targets(line: str, path: bytes, query: bytes) -> None:
    """Through a proxy or not, the path is what counts."""
    found = read(line=line)
    assert found is not None
    assert (found.head.path, found.head.query) == (path, query)


@pytest.mark.parametrize(
    "line",
    [
        "GET /a HTTP/1.2",
        "GET /a HTTP/2.0",
        "GET /a  HTTP/1.1",
        "get /a HTTP/1.1",
        "GET a HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /\xe9 HTTP/1.1",
        "GET http://h HTTP/1.1",
        "GET",
        "",
    ],
)
def test_odd_lines_are_not_read(line: str) -> None:
    """They are somebody else's to refuse."""
    assert read(line=line) is None


@pytest.mark.parametrize(
    "field",
    ["a b: c", "a : b", ": b", "a", " a: b", "a: \x00", "a: b\rc: d", "a: b\nc: d", "a: \x7f", "\xe9: a"],
)
def test_odd_fields_are_not_read(field: str) -> None:
    """One of them is enough, and the sieve sees it as well."""
    assert read("Host: x", field, "Accept: y") is None
    assert Sieve().sift([b"GET / HTTP/1.1", b"Host: x", field.encode("latin-1"), b"", b""]) is None


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], 0),
        (["Content-Length: 0"], 0),
        (["Content-Length: 12"], 12),
        (["Content-Length: 1", "Content-Length: 1"], -1),
        (["Content-Length: -1"], -1),
        (["Content-Length: +1"], -1),
        (["Content-Length:"], -1),
        (["Content-Length: 9999999999999999999"], -1),
        (["Transfer-Encoding: chunked"], -1),
        (["Transfer-Encoding:"], -1),
        (["Content-Length: 1", "Transfer-Encoding: chunked"], -1),
    ],
)
def test_lengths(fields: list[str], length: int) -> None:
    """Whatever could be read in two ways is left to the one who answers."""
    found = read(*fields)
    assert found is not None
    assert (found.length, found.simple) == (length, length == 0)


@pytest.mark.parametrize("field", ["Expect: 100-continue", "Proxy-Connection: close", "Content-Length: 1"])
def test_what_is_not_simple(field: str) -> None:
    """Not for the edge to answer, as anything but a GET."""
    found, posted = read(field), read(line="POST / HTTP/1.1")
    assert found is not None
    assert posted is not None
    assert not found.simple
    assert not posted.simple


@pytest.mark.parametrize(
    ("fields", "close"),
    [
        (["Connection: close"], True),
        (["Connection: Keep-Alive, CLOSE"], True),
        (["Connection: x", "Connection: close"], True),
        (["Connection: closed"], False),
        (["Connection: keep-alive"], False),
    ],
)
def test_who_wants_to_close(fields: list[str], close: bool) -> None:
    """A token among others; HTTP/1.0 always."""
    found, old = read(*fields), read(*fields, line="GET / HTTP/1.0")
    assert found is not None
    assert old is not None
    assert (found.close, old.close, old.old) == (close, True, True)


def test_an_offer_to_upgrade_is_taken_out() -> None:
    """And nothing else."""
    head = b"POST / HTTP/1.1\r\nUpgrade: h2c\r\nX-Upgrade: a\r\nupgrade:b\r\nConnection: Upgrade\r\n\r\n"
    assert without_upgrade(head) == b"POST / HTTP/1.1\r\nX-Upgrade: a\r\nConnection: Upgrade\r\n\r\n"


def sift(sieve: Sieve, *fields: bytes) -> Sifted | None:
    """What matters of a head, and what does not."""
    return sieve.sift([b"GET / HTTP/1.1", *fields, b"", b""])


def test_what_matters_is_told_from_what_does_not() -> None:
    """As written and in order, the first time and later."""
    sieve = Sieve()
    for _ in range(3):
        fields = (b"Host: a", b"AUTHORIZATION:b", b"User-Agent: c", b"accept-encoding: d", b"X-Request-ID: e")
        assert sift(sieve, *fields) == (
            (b"GET / HTTP/1.1", b"AUTHORIZATION:b", b"accept-encoding: d"),
            b"X-Request-ID: e",
            [b"X-Request-ID: e"],
        )
    assert sift(sieve, b"X-Request-ID: e", b"x-request-id: f") is None
    assert sift(sieve, b"Host: a", b"", b"GET / HTTP/1.1") is None


NAMES = st.sampled_from(
    ["Authorization", "AUTHORIZATION", "Origin", "If-None-Match", "Connection", "X-Request-ID", "Expect", "X"]
)
VALUES = st.sampled_from(["", " a ", "b", "close", "\tc\t"])


@given(st.lists(st.tuples(NAMES, VALUES).map(":".join)), st.sampled_from(["GET", "PUT"]))
def test_what_is_left_of_a_head_is_read_alike(fields: list[str], method: str) -> None:
    """An edge may look at the fields that matter, and finds in them what the whole head says."""
    lines = [text.encode() for text in (f"{method} /a?b HTTP/1.1", *fields, "", "")]
    whole = read_head(b"\r\n".join(lines))
    sifted = Sieve().sift(lines)
    assert whole is not None
    if sifted is None:
        assert sum(field.startswith("X-Request-ID") for field in fields) > 1
        return
    part = sifted_head(sifted[0], sifted[1])
    assert part is not None
    assert part.head.fields.items() <= whole.head.fields.items()
    assert set(whole.head.fields) - set(part.head.fields) <= {b"x"}
    assert [getattr(part, name) for name in ("close", "old", "length", "simple")] == [
        getattr(whole, name) for name in ("close", "old", "length", "simple")
    ]


def test_ever_new_values_are_not_remembered() -> None:
    """A trace's name is learned, its values are noise; so are ids, and ever new names."""
    sieve = Sieve()
    for number in range(10_000):
        lines = [b"X-Trace: %d" % number, b"X-Request-ID: %d" % number, b"X-%d: y" % number]
        sifted = sift(sieve, *lines)
        assert sifted is not None
        assert number < 1000 or sifted[2] == lines
    assert len(sieve._lines) < 2000
    assert len(sieve._learned) <= 1000
