"""Usage is read piece by piece: however it is cut, however large, and whatever it is made of."""

import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.errors import RequestError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import MEBIBYTE
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.wire.usage_reader import MAX_ENTRY_BYTES, STEP_BYTES, UsageKeys, UsageReader
from tests.support.usage_body import read_usage

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")
NOW = 1_700_000_000_000
Read = tuple[tuple[UsageCount, ...], tuple[UsageTarget, ...], int] | None
MEMBERS = ("metricsData", "targetData", "z")

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text('aé"\\/\x00\ud83d😀]}{[,', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["attributes", "key", "value", "count", "é", "]}"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
pairs = st.lists(
    st.fixed_dictionaries({"key": st.text(max_size=3) | values, "value": values}) | values, max_size=3
)
entries = (
    st.fixed_dictionaries(
        {},
        optional={
            "count": st.integers(0, 9),
            "attributes": pairs,
            "identifier": st.text(max_size=2),
            "x": values,
        },
    )
    | values
)
documents = (
    st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(entries, max_size=4) | values for name in ("metricsData", "targetData", "z")
        },
    )
    | values
)


def read_in(pieces: Iterable[bytes], keys: UsageKeys | None = None) -> Read:
    """What the reader makes of a body in pieces; ``None`` if it refuses it."""
    reader = UsageReader(ENV, NOW, keys or UsageKeys(MEBIBYTE))
    try:
        reports = [*map(reader.feed, pieces), reader.finish()]
    except RequestError:
        return None
    return (
        tuple(count for report in reports for count in report.counts),
        tuple(target for report in reports for target in report.targets),
        sum(report.bad for report in reports),
    )


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON in any form that a client may send, and with one character wrong now and then."""
    text = json.dumps(
        draw(documents), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
    )
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(text) - 1))
        text = text[:at] + draw(st.sampled_from(["", *',}]["\\x1'])) + text[at + 1 :]
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]))
    return text.encode(encoding, "surrogatepass")


@settings(deadline=None)
@given(bodies(), st.data())
def test_however_it_is_cut_it_reads_the_same(body: bytes, data: st.DataObject) -> None:
    """In one piece, byte by byte, and in any others."""
    whole = read_in([body])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    assert (
        read_in(body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)) == whole
    )
    assert read_in(body[at : at + 1] for at in range(len(body))) == whole


@settings(deadline=None)
@given(bodies())
def test_it_takes_what_is_a_json_object_and_nothing_else(body: bytes) -> None:
    """As the standard library decides, which reads what JavaScript and Python write."""
    try:
        legal = isinstance(json.loads(body, strict=False), dict)
    except ValueError:
        legal = False
    assert (read_in([body]) is not None) is legal


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b'{"metricsData":[1,]}',
        b'{"metricsData":[0 0]}',
        b'{"metricsData":[01]}',
        b'{"metricsData":[{}}',
        b'{"metricsData":["\\x"]}',
        b'{"metricsData":["a]}',
        b"{}{}",
        b"{} x",
        '{"metricsData":[],"é":1}'.encode("utf-16")[:-1],
        b"\x1f\x8b\x08\x00",
        b"PK\x03\x04",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    """Half a body, and what only looks like JSON."""
    assert read_in([body]) is None
    assert read_in(body[at : at + 1] for at in range(len(body))) is None


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=6) | st.sampled_from(["é".encode(), b"\xed\xa0\xbd", b"\xe2\x82"]), max_size=6
    ),
    st.data(),
)
def test_bytes_that_are_not_utf_8_cost_no_count(texts: list[bytes], data: st.DataObject) -> None:
    """They become U+FFFD, as they do in Go, however the body is cut."""
    clean = bytes.maketrans(b'"\\', b"__")
    targets = [text.translate(clean) for text in texts]
    counts = b",".join(
        b'{"count":2,"attributes":[{"key":"target","value":"%b"}]}' % target for target in targets
    )
    body = b'{"metricsData":[%b]}' % counts
    whole = read_in([body])
    assert whole is not None
    got, _, bad = whole
    assert (sum(count.count for count in got), bad) == (2 * len(texts), 0)
    for count, target in zip(got, targets, strict=True):
        read = json.loads(count.key.attributes[0][1])
        if b"\xed" not in target:  # half a surrogate pair is repaired by other rules
            assert read == target.decode("utf-8", "replace")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    cut = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert read_in(cut) == whole


def entry(**more: object) -> dict[str, Any]:
    """One count."""
    return {"count": 1, "attributes": [{"key": "k", "value": "v"}], **more}


@pytest.mark.parametrize("dense", [True, False])
def test_order_and_white_space_of_an_entry_do_not_matter(*, dense: bool) -> None:
    """Whether its attributes come last, as most SDKs have it, or first."""
    usual = entry()
    other = {"attributes": usual["attributes"], "count": 1}
    deep = {"count": 1, "attributes": [{"key": "k", "value": [[[[[[[[{}]]]]]]]]}]}
    body = json.dumps({"metricsData": [usual, other, deep] * 50}, indent=None if dense else 2).encode()
    read = read_in([body])
    assert read is not None
    assert (len(read[0]), read[2]) == (150, 0)


def test_an_entry_just_within_the_limit_is_taken() -> None:
    """One byte more and it is bad, alone; in whatever pieces."""
    for more in (0, 1):
        text = json.dumps(entry(x=""))
        long = json.dumps(entry(x="x" * (MAX_ENTRY_BYTES - len(text) + more)))
        body = f'{{"metricsData":[{long},{json.dumps(entry())}]}}'.encode()
        for size in (len(body), STEP_BYTES, 1000):
            read = read_in(body[at : at + size] for at in range(0, len(body), size))
            assert read is not None
            assert (len(read[0]), read[2]) == (2 - more, more)


SIZE = 192 * 1024
START = b'{"metricsData":['


@pytest.mark.parametrize(
    "body",
    [
        START + b"0," * (SIZE // 2) + b"0]}",
        START + b"{}," * (SIZE // 12) + b"0]}",
        START + b"[]," * (SIZE // 6) + b"0]}",
        START + b'"x",' * (SIZE // 8) + b"0]}",
        START + b'"' + b"x" * SIZE + b'"]}',
        b'{"' + b"x" * SIZE + b'":1}',
        b'{"z":' + b"9" * SIZE + b"}",
        START + b'{"attributes":[' + b'{"key":1},' * (SIZE // 10) + b"{}]}]}",
        START + (b"[" * 900 + b"]" * 900 + b",") * (SIZE // 1801) + b"0]}",
        b'{"z":[' + b"[" * 990 + b"1," * (SIZE // 2),
        START + b'{"a":"]}"},' * (SIZE // 22) + b"0]}",
        START + b"[" * SIZE,
    ],
    ids=lambda body: repr(body[:24] + body[-12:]),
)
def test_no_body_becomes_objects_of_many_times_its_size(body: bytes) -> None:
    """Neither what nobody wants nor what is too large is kept while the rest is awaited."""
    reader = UsageReader(ENV, NOW, UsageKeys(MEBIBYTE))
    tracemalloc.start()
    try:
        for at in range(0, len(body), STEP_BYTES):
            reader.feed(body[at : at + STEP_BYTES])
        reader.finish()
    except RequestError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


def test_many_targets_in_one_body_are_read() -> None:
    """Go sends up to 100,000."""
    targets = [
        {"identifier": f"t{n}", "name": "n", "attributes": [{"key": "a", "value": n}]} for n in range(5000)
    ]
    report = read_usage(json.dumps({"targetData": targets}).encode(), ENV, NOW)
    assert [target.identifier for target in report.targets] == [f"t{n}" for n in range(5000)]


@settings(deadline=None)
@given(st.lists(bodies(), max_size=8), st.sampled_from([0, 2000, MEBIBYTE]))
def test_what_was_read_before_changes_nothing(posts: list[bytes], budget: int) -> None:
    """However many of the keys of earlier bodies are still known."""
    keys = UsageKeys(budget)
    assert [read_in([body], keys) for body in posts] == [read_in([body]) for body in posts]


def test_counts_that_are_sent_again_share_their_key() -> None:
    """Reading, hashing and weighing it takes most of the time of a post."""
    body = json.dumps(
        {"metricsData": [{"count": 1, "attributes": [{"key": "target", "value": "global"}]}]}
    ).encode()
    keys = UsageKeys(MEBIBYTE)
    first, second = ((read_in([body], keys) or ((), (), 0))[0] for _ in range(2))
    assert first[0].key is second[0].key


def test_keys_stay_within_their_budget() -> None:
    """Whatever clients make up."""
    keys = UsageKeys(MEBIBYTE)
    kind, environments = "FFMETRICS" * 100, [ENV, EnvironmentId("another")]
    tracemalloc.start()
    try:
        for number in range(5000):
            attributes = json.dumps([{"key": f"{number}", "value": "x" * 500}]).encode()
            for environment in environments:
                key = keys.read(environment, kind, attributes)
                assert key is not None
                assert key.environment == environment
        assert tracemalloc.get_traced_memory()[0] < 1.5 * MEBIBYTE
    finally:
        tracemalloc.stop()
