"""Whatever bytes come in: no error of ours, nothing twice, and nobody else's request is made of them."""

import asyncio
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import httptools
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.loops import Background
from tests.support.pipes import Pipe, converse, open_pipe
from tests.support.thorough import examples
from tests.support.web import Site, serving

FLAGS = f"/client/env/{ENVIRONMENT}/feature-configs"
SLICES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b"\x0b",
    b"\xff",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 3\r\n",
    b"content-length:7\r\n",
    b"Content-Length: 1, 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"GET / HTTP/1.1\r\n",
    b"POST / HTTP/1.0\r\n",
    b" folded\r\n",
    b"X-Request-ID: z\r\n",
]


class Running:
    """A proxy, and a token for it."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self.site = Site(clock=FakeClock())
        background.serve(self._serve)
        self.token = self.site.token()

    async def _serve(self, up: asyncio.Event, over: asyncio.Event) -> None:
        async with serving(self.site, config(flag("a"))):
            up.set()
            await over.wait()

    def answers(self, parts: list[bytes]) -> bytes:
        """What comes back."""
        return self.background.call(converse(self.site, parts))


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One for all examples; no exception may have reached its loop."""
    with Background() as background:
        yield Running(background)
        assert background.errors == []


def request(running: Running, number: int, kind: int) -> bytes:
    """A good request that is recognised in its response."""
    chunks = "2\r\n{}\r\n0\r\n\r\n"
    bearer = f"Authorization: Bearer {running.token}\r\nX-Request-ID: id-{number}\r\n"
    return [
        f"GET {FLAGS} HTTP/1.1\r\n{bearer}\r\n",
        f"GET {FLAGS}/a HTTP/1.1\r\nHost: x\r\n{bearer}If-None-Match: *\r\n\r\n",
        f"POST /metrics/{ENVIRONMENT} HTTP/1.1\r\n{bearer}Content-Length: 10\r\n\r\n{{}}        ",
        f"POST /metrics/{ENVIRONMENT} HTTP/1.1\r\n{bearer}Transfer-Encoding: chunked\r\n\r\n{chunks}",
        f"GET /health HTTP/1.1\r\n{bearer}\r\n",
        f"GET /stream HTTP/1.1\r\n{bearer}\r\n",
        f"GET /stream HTTP/1.1\r\n{bearer}API-Key: {KEY}\r\n\r\n",
    ][kind].encode()


class Reference:
    """What llhttp alone, fed with everything, takes for requests: the ids of complete heads, in order."""

    def __init__(self, data: bytes) -> None:
        self.ids: list[bytes] = []
        self._fields: list[tuple[bytes, bytes]] = []
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        with suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        # White space behind a value is none of it (RFC 9112 §5); llhttp leaves that to whoever asks.
        self._fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.ids.append(b", ".join(value for name, value in self._fields if name == b"x-request-id"))


def echoed(answers: bytes) -> list[bytes]:
    """The ids in the responses, in order."""
    return [line[14:] for line in answers.split(b"\r\n") if line.startswith(b"X-Request-Id: ")]


def is_subsequence(some: list[bytes], of: list[bytes]) -> bool:
    """Whether ``some`` stand in ``of`` in this order."""
    rest = iter(of)
    return all(one in rest for one in some)


MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["insert", "delete", "replace"]), st.sampled_from(SLICES)),
    max_size=4,
)
KINDS = st.lists(st.integers(0, 6), min_size=1, max_size=4)


def mutated(data: bytes, mutations: list[tuple[float, str, bytes]]) -> bytes:
    """``data`` with pieces put in, taken out or exchanged, preferably at line ends."""
    for where, how, piece in mutations:
        place = int(where * len(data))
        if how != "delete" and place % 2:
            place = data.rfind(b"\r\n", 0, place) + 2
        kept = place if how == "insert" else place + len(piece)
        data = data[:place] + (b"" if how == "delete" else piece) + data[kept:]
    return data


@settings(max_examples=examples(6), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KINDS, MUTATIONS, st.lists(st.floats(0, 1), max_size=3))
@example(kinds=[4, 4, 4], mutations=[(0.6640625, "insert", b" ")], cuts=[])
def test_no_request_is_made_of_parts_of_others(
    running: Running, kinds: list[int], mutations: list[tuple[float, str, bytes]], cuts: list[float]
) -> None:
    """Two readers of the same bytes find the same requests, or the connection ends before they differ."""
    sent = mutated(b"".join(request(running, number, kind) for number, kind in enumerate(kinds)), mutations)
    places = [0, *sorted(int(cut * len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[start:end] for start, end in pairwise(places)]
    answers = running.answers(pieces)
    # An upgrade is ignored here, while llhttp alone would stop at it.
    reference = Reference(sent.replace(b"Upgrade: h2c\r\n", b"Upgraded: h2c\r\n"))
    assert is_subsequence(echoed(answers), reference.ids)
    assert b"HTTP/1.1 500" not in answers


BODIES = st.lists(st.sampled_from(["{}", " ", "\r\n\r\n", "é", "0\r\n\r\n", "x" * 20_000]), max_size=4)
FRAMINGS = st.sampled_from(["none", "length", "chunked", "chunked, with trailers", "chunked, upgrade"])


def raw_request(running: Running, number: int, framing: str, pieces: list[str]) -> bytes:
    """A request whose target is written as it is, not percent-encoded, with a body of such pieces."""
    method, target = ("GET", f"{FLAGS}/é") if framing == "none" else ("POST", f"/metrics/{ENVIRONMENT}?é=1")
    head = f"{method} {target} HTTP/1.1\r\nAuthorization: Bearer {running.token}\r\nX-Request-ID: id-{number}"
    if framing == "none":
        return f"{head}\r\n\r\n".encode()
    body = [piece.encode() for piece in pieces]
    if framing == "length":
        content = b"".join(body)
        return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (head.encode(), len(content), content)
    upgrade = "\r\nConnection: upgrade\r\nUpgrade: h2c" if "upgrade" in framing else ""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in body)
    trailers = b"X-Sum: 1\r\n" if "trailers" in framing else b""
    return (
        f"{head}{upgrade}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n%b\r\n" % trailers
    )


@settings(max_examples=examples(6), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(FRAMINGS, BODIES), min_size=2, max_size=4), st.lists(st.floats(0, 1), max_size=3))
@example(requests=[("chunked", ["{}"]), ("none", [])], cuts=[])
def test_a_target_is_read_alike_wherever_its_request_begins(
    running: Running, requests: list[tuple[str, list[str]]], cuts: list[float]
) -> None:
    """Behind any body, in any pieces: bytes beyond ASCII in a target are no reason to refuse it."""
    each = [raw_request(running, number, *one) for number, one in enumerate(requests)]
    sent = b"".join(each)
    places = [0, *sorted(int(cut * len(sent)) for cut in cuts), len(sent)]
    answers = running.answers([sent[start:end] for start, end in pairwise(places)])
    assert echoed(answers) == [b"id-%d" % number for number in range(len(each))]
    assert _statuses(answers) == [status for one in each for status in _statuses(running.answers([one]))]


def _statuses(answers: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+)", answers)


@settings(max_examples=examples(3), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_noise_is_refused(running: Running, pieces: list[bytes]) -> None:
    """At most once, and then nothing more is said."""
    answers = running.answers(pieces)
    assert answers.count(b"HTTP/1.1 ") <= 1
    assert answers == b"" or answers.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("seed", range(3))
def test_a_flood_of_small_pieces_is_no_trouble(running: Running, seed: int) -> None:
    """A long head in very many pieces is looked at once, not once per piece."""
    chance = random.Random(seed)
    head = request(running, 0, 0)[:-2] + b"X: " + b"y" * 300_000 + b"\r\n\r\n"
    cuts = sorted(chance.sample(range(len(head)), 20_000))
    pieces = [head[start:end] for start, end in zip([0, *cuts], [*cuts, len(head)], strict=True)]
    assert running.answers([b"".join(pieces)]).startswith(b"HTTP/1.1 200")

    async def feed() -> bytes:
        pipe = Pipe(open_pipe(running.site))
        for piece in pieces:
            pipe.feed(piece)
        return bytes(pipe.written)

    assert running.background.call(feed()).startswith(b"HTTP/1.1 200")
