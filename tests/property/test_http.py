"""What is remembered is what would be answered anew, byte for byte, however a request is written or cut."""

import asyncio
import base64
import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag, segment
from tests.support.loops import Background
from tests.support.pipes import converse
from tests.support.thorough import examples
from tests.support.web import Site, serving

METRICS = b"Content-Type: text/plain"
OTHER = EnvironmentId("11111111-2222-4333-8444-555555555555")
CONFIGS = (
    config(*(flag(f"flag-{number}") for number in range(20)), flag("a"), segment("beta"), segment("a")),
    config(flag("b"), environment=OTHER, keys=("the-other-server-key",)),
)


class Pair:
    """Two proxies that hold the same and whose clocks stand still; the second remembers no response."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self.hot = Site(clock=FakeClock())
        self.cold = Site(clock=FakeClock(), remembers=False)
        for site in (self.hot, self.cold):
            background.serve(lambda up, over, site=site: _serve(site, up, over))  # type: ignore[misc]
        self.tokens = [self.hot.token(), self.hot.token(OTHER, "the-other-server-key")]
        self.tags = [
            tag
            for path in ("feature-configs", "feature-configs/a", "target-segments", "target/jane/evaluations")
            for tag in [self.tag(path)]
        ]

    def ask(self, site: Site, *parts: bytes) -> bytes:
        """Everything that comes back for ``parts``, sent one by one."""
        return self.background.call(converse(site, parts))

    def tag(self, path: str) -> str:
        """The tag that a resource has."""
        request = f"GET /client/env/{ENVIRONMENT}/{path} HTTP/1.0\r\nAuthorization: Bearer {self.tokens[0]}"
        lines = self.ask(self.hot, request.encode() + b"\r\n\r\n").decode().split("\r\n")
        return next(line.removeprefix("Etag: ") for line in lines if line.startswith("Etag: "))


async def _serve(site: Site, up: asyncio.Event, over: asyncio.Event) -> None:
    async with serving(site, *CONFIGS):
        await site.store.targets.put(ENVIRONMENT, Target("jane", "Jane", {"plan": "gold"}))
        up.set()
        await over.wait()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Both, for all examples."""
    with Background() as background:
        made = Pair(background)
        yield made
        assert background.errors == []


SEGMENTS = st.one_of(
    st.sampled_from(["feature-configs", "target-segments", "target", "evaluations", "env", "client", "api"]),
    st.sampled_from(
        ["a", "beta", "flag-3", "jane", "j%61ne", ENVIRONMENT, OTHER, "1.0", "stream", "metrics"]
    ),
    st.sampled_from(["%2F", "%", "%zz", "+", "", "x y", "\u00e9", "..", ";", "health", "ready", "auth"]),
)
USUAL = st.sampled_from(
    [
        f"/client/env/{ENVIRONMENT}/{rest}"
        for rest in (
            "feature-configs",
            "feature-configs/a",
            "feature-configs/%61",
            "feature-configs/none",
            "target-segments",
            "target-segments/beta",
            "target/jane/evaluations",
            "target/j%61ne/evaluations",
            "target/joe%2F/evaluations/a",
            "target//evaluations",
            "target/jane/evaluations/none",
        )
    ]
    + [f"/client/env/{OTHER}/feature-configs", "/client/env/none/target-segments", "/health", "/stream"]
)
PATHS = st.one_of(
    USUAL,
    USUAL,
    USUAL,
    st.lists(SEGMENTS, max_size=7).map(lambda parts: "/" + "/".join(parts)),
    st.tuples(USUAL, SEGMENTS).map("/".join),
    st.builds("{}{}".format, st.sampled_from(["/", "/api/1.0", "//api//1.0", "http://p", "//"]), USUAL),
)
QUERIES = st.sampled_from(
    [
        "",
        "",
        "?",
        "?cluster=1",
        "?rules=v2",
        "?cluster=1&rules=v2",
        "?rules=%762",
        "?rules",
        "?rules=%C2%A1",
        "?a?b",
        "#x",
    ]
)
TARGETS = st.one_of(
    st.fixed_dictionaries(
        {"identifier": st.sampled_from(["jane", "joe/", "j%61ne", "", 7])},
        optional={"attributes": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2)},
    ).map(lambda target: base64.b64encode(json.dumps(target).encode()).decode()),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20),
)
PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
FIELDS = st.one_of(
    st.tuples(
        st.sampled_from(["Accept-Encoding", "accept-encoding"]),
        st.sampled_from(["gzip", "gzip, br", "gzip;q=0", "*", "identity", "gzip;q=x", ""]),
    ),
    st.tuples(st.just("Harness-Target"), TARGETS),
    st.tuples(st.just("X-Request-ID"), st.text(PRINTABLE, max_size=10)),
    st.tuples(st.just("Origin"), st.sampled_from(["https://a.example", "null", ""])),
    st.tuples(
        st.just("Connection"), st.sampled_from(["close", "keep-alive", "Close, x", "upgrade", "", ",close"])
    ),
    st.tuples(st.just("Upgrade"), st.sampled_from(["h2c", "websocket"])),
    st.tuples(st.just("Content-Length"), st.sampled_from(["0", "00"])),
    st.tuples(st.just("Authorization"), st.sampled_from(["", "Bearer x", "Basic y"])),
    st.tuples(st.sampled_from(["X", "x-y", "!#$%&'*+-.^_`|~09azAZ"]), st.text(PRINTABLE, max_size=6)),
)
ODD_FIELDS = st.one_of(
    st.tuples(st.just("Content-Length"), st.sampled_from(["", "x", "-0", "3"])),
    st.tuples(st.just("Transfer-Encoding"), st.sampled_from(["identity", "x", "", "chunked"])),
    st.tuples(
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=6),
        st.text(st.characters(max_codepoint=0xFF), max_size=6),
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, int | None, list[int]]:
    """A request's text without tokens and tags: which of them it carries stands beside it."""
    method = draw(st.sampled_from(["GET"] * 20 + ["HEAD", "POST", "OPTIONS", "PUT", "get"]))
    version = draw(st.sampled_from(["1.1"] * 20 + ["1.0", "1.2", "2.0"]))
    line = f"{method} {draw(PATHS)}{draw(QUERIES)} HTTP/{version}\r\n"
    pairs = draw(st.lists(FIELDS, max_size=4))
    if draw(st.integers(0, 9)) == 7:
        pairs.append(draw(ODD_FIELDS))
    fields = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    token = draw(st.sampled_from([0, 0, 0, 0, 0, 1, None]))
    tags = draw(st.lists(st.integers(0, 3), max_size=2))
    return line + fields, token, tags


def written(pair: Pair, request: tuple[str, int | None, list[int]]) -> bytes:
    """The request as bytes."""
    text, token, tags = request
    if token is not None:
        text += f"Authorization: Bearer {pair.tokens[token]}\r\n"
    if tags:
        text += f"If-None-Match: {', '.join(pair.tags[tag] for tag in tags)}\r\n"
    return (text + "\r\n").encode("latin-1", "replace")


@settings(max_examples=examples(3), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests())
@example((f"GET /client/env/{ENVIRONMENT}/feature-configs HTTP/1.1\r\n", 0, []))
@example((f"GET /client/env/{ENVIRONMENT}/feature-configs HTTP/1.1\r\nAccept-Encoding: gzip\r\n", 0, [0]))
@example((f"GET /client/env/{ENVIRONMENT}/target/jane/evaluations HTTP/1.1\r\n", 0, [3]))
def test_an_answer_depends_on_nothing_but_what_its_route_declares(
    pair: Pair, request: tuple[str, int | None, list[int]]
) -> None:
    """Four times in a row on one connection, so that it is found by what is declared and by its bytes."""
    sent = written(pair, request)
    one, other = (pair.ask(site, sent, sent, sent, sent) for site in (pair.hot, pair.cold))
    assume(METRICS not in one)
    assert one == other
    assert b"HTTP/1.1 500 " not in one


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests(), min_size=1, max_size=4), st.lists(st.floats(0, 1), max_size=6))
def test_cuts_change_nothing(
    pair: Pair, several: list[tuple[str, int | None, list[int]]], cuts: list[float]
) -> None:
    """Sent at once or in pieces, on either way."""
    sent = b"".join(written(pair, request) for request in several)
    # What comes in place of a chunk is found to be none before or after the request was answered.
    assume(b"chunked" not in sent)
    places = [0, *sorted(int(cut * len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[start:end] for start, end in pairwise(places)]
    whole = pair.ask(pair.hot, sent)
    assume(METRICS not in whole)
    for site in (pair.hot, pair.cold):
        assert pair.ask(site, *pieces) == whole


def test_every_single_cut_changes_nothing(pair: Pair) -> None:
    """A read, a post and a read, cut at each byte."""
    bearer = f"Authorization: Bearer {pair.tokens[0]}\r\n"
    hot = f"GET /client/env/{ENVIRONMENT}/feature-configs/a HTTP/1.1\r\n{bearer}\r\n"
    cold = f"POST /metrics/{ENVIRONMENT} HTTP/1.1\r\n{bearer}Content-Length: 2\r\n\r\n{{}}"
    sent = (hot + cold + hot).encode()
    whole = pair.ask(pair.hot, sent)
    assert whole.count(b"HTTP/1.1 200 OK") == 3
    for cut in range(1, len(sent)):
        assert pair.ask(pair.hot, sent[:cut], sent[cut:]) == whole
