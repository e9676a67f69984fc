"""Any JSON, and what looks like it: it is read or refused, and what is read can be carried everywhere."""

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ff_proxy.errors import MalformedJson, RequestError
from ff_proxy.evaluation.attributes import attribute_text
from ff_proxy.model.environment import Domain, EnvironmentInfo, Item
from ff_proxy.model.evaluation import Evaluation, Reason
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret, hash_key
from ff_proxy.model.target import Target
from ff_proxy.wire.admin import read_key_page, read_target_page
from ff_proxy.wire.config import read_feature, read_segment
from ff_proxy.wire.evaluation import encode_evaluation
from ff_proxy.wire.events import read_event
from ff_proxy.wire.normalise import Rejected, normalise_flag, normalise_segment
from ff_proxy.wire.offline import read_info
from ff_proxy.wire.saas_auth import auth_body, read_auth_token, read_claims
from ff_proxy.wire.sdk import read_auth_request, read_target_header, write_claims
from ff_proxy.wire.stored import MAX_ATTRIBUTES_BYTES, DescribedTarget, encode_row, fingerprint, read_row
from ff_proxy.wire.usage import write_usage
from ff_proxy.wire.values import MAX_DEPTH, clean, decode_json
from tests.support.usage_body import read_usage

ENVIRONMENT = EnvironmentId("e")


class Raw(str):
    """JSON text that stands for itself."""

    __slots__ = ()


numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from(
        [
            Raw(text)
            for text in (
                "1e400",
                "-1e400",
                "1e-400",
                "-0",
                "-0.0",
                "NaN",
                "Infinity",
                "-Infinity",
                "100000000000000000000",
                "18446744073709551615",
                "18446744073709551616",
                "-9223372036854775809",
                "1" + "0" * 400,
                "9" * 5000,
                "0." + "0" * 400 + "1",
                "1e15",
            )
        ]
    ),
)
texts = st.text() | st.sampled_from(
    ["\ud800", "\udc00x", "\ud83d\ude00", "\x00", "\u2028", "name", "identifier"]
)
scalars = st.none() | st.booleans() | numbers | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def written(value: object, *, ascii_only: bool = True) -> str:
    """JSON text as lenient writers write it: ``Raw`` as it is, surrogates as escapes or as they are."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        members = (f"{written(str(name))}:{written(part)}" for name, part in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "1e999"
    return json.dumps(value, ensure_ascii=ascii_only)


def nested(levels: int) -> str:
    """A list in a list in a list."""
    return "[" * levels + "]" * levels


encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
documents: st.SearchStrategy[bytes] = st.one_of(
    st.builds(lambda value, encoding: written(value).encode(encoding), anything, encodings),
    st.builds(lambda value: written(value).encode("utf-8", "surrogatepass"), anything),
    st.builds(lambda levels: nested(levels).encode(), st.integers(1, 300)),
    st.sampled_from(
        [nested(100_000).encode(), b'{"a":' * 2000, b'{"a":1,"a":2}', b"\xff", b"", b'"\xed\xa0\x80"']
    ),
    st.binary(max_size=40),
)


def assert_carried(value: object, depth: int = 0) -> None:
    """Every writer of ours takes it, and Go's reader would give the same."""
    assert depth <= MAX_DEPTH + 1
    if isinstance(value, dict):
        for name, part in value.items():
            assert_carried(name, depth + 1)
            assert_carried(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            assert_carried(part, depth + 1)
    elif isinstance(value, str):
        value.encode()
    elif isinstance(value, int):
        assert -(2**63) <= value < 2**64
    elif isinstance(value, float):
        assert math.isfinite(value)
    else:
        assert value is None


@given(documents)
def test_what_is_read_can_be_carried(document: bytes) -> None:
    """By JSON and MessagePack, and comes back as it went."""
    try:
        value = decode_json(document)
    except MalformedJson:
        return
    assert_carried(value)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value)) == value
    assert decode_json(msgspec.json.encode(value)) == value
    assert clean(value) == value


@given(anything)
def test_json_of_any_kind_is_read(value: object) -> None:
    """Nothing but a number that nothing can hold, alone, is refused; a wrong encoding of text is not."""
    text = written(value)
    try:
        got = decode_json(text.encode())
    except MalformedJson:
        assert isinstance(value, str | float)
        assert not isinstance(value, str) or isinstance(value, Raw)
    else:
        assert clean(got) == got


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("100000000000000000000", "100000000000000000000"),
        ("9007199254740993", "9007199254740992"),
        ("12345678901234567890", "12345678901234567000"),
        ("1e400", ""),
        ("-0", "-0"),
        ("-0.0", "-0"),
        ("NaN", ""),
        ('"\\ud800"', "\ufffd"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("[1e400,1]", "[<nil> 1]"),
        ('{"a":1e400,"b":1}', '{"b":1}'),
        ("[100000000000000000000]", "[1e+20]"),
        ("1" + "0" * 400, ""),
        ('"\\u0000"', "\x00"),
    ],
)
def test_attributes_read_as_go_reads_them(text: str, read: str) -> None:
    """Every number is a float64 there (spec/evaluation#attributes)."""
    body = b'{"apiKey":"k","target":{"identifier":"t","attributes":{"a":%b}}}' % text.encode()
    target = read_auth_request(body).target
    assert target is not None
    assert attribute_text(target.attributes.get("a", "")) == read


@contextmanager
def refused_with_400() -> Iterator[None]:
    """A request may be refused so, and in no other way."""
    try:
        yield
    except RequestError as error:
        if error.status != 400:
            raise


def described(members: Mapping[str, st.SearchStrategy[Any] | None]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with members of these names, among others, of any type."""
    return st.fixed_dictionaries(
        {}, optional={name: anything if kind is None else kind for name, kind in members.items()}
    )


targets = described(
    {
        "identifier": texts | numbers,
        "name": None,
        "anonymous": None,
        "attributes": st.dictionaries(texts, anything, max_size=4) | anything,
    }
)


def carried(target: Target) -> None:
    """Every writer that a target meets takes it, and what stores hold of it is it."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(target), type=Target) == target
    assert read_row(encode_row(DescribedTarget(target, 7))) == DescribedTarget(target, 7)
    assert fingerprint(target) == fingerprint(msgspec.json.decode(msgspec.json.encode(target), type=Target))
    auth_body(SdkKey("k"), target)
    for value in target.attributes.values():
        attribute_text(value).encode()


@given(targets, st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_an_auth_body(target: dict[str, object], encoding: str) -> None:
    """The key is found whatever the target is, and the target can be carried."""
    asked = read_auth_request(written({"apiKey": "key", "target": target}).encode(encoding))
    assert asked.key.reveal() == "key"
    if asked.target is not None:
        carried(asked.target)


@given(target=targets, times=st.integers(0, 1), within=st.booleans())
def test_a_long_auth_body_is_read_like_a_short_one(
    target: dict[str, object], times: int, *, within: bool
) -> None:
    """What nobody asks for is passed over, however long it is, beside the target or in it."""
    padding = Raw("[" + "0," * 40_000 * times + "0]")
    short = {"apiKey": "key", "target": target}
    padded = {**short, "target": {**target, "more": padding}} if within else {**short, "more": padding}
    got, expected = (read_auth_request(written(body).encode()) for body in (padded, short))
    assert got == expected


@given(documents)
def test_any_auth_body(document: bytes) -> None:
    """It is read, or refused."""
    with refused_with_400():
        read_auth_request(document)


@given(targets.map(written) | documents.map(lambda document: document.decode("utf-8", "replace")))
def test_a_target_header(text: str) -> None:
    """It is read, or ignored."""
    target = read_target_header(base64.b64encode(text.encode("utf-8", "surrogatepass")))
    if target is not None:
        carried(target)


@given(st.binary(max_size=60))
def test_any_header(value: bytes) -> None:
    """Bytes of any kind."""
    read_target_header(value)
    read_row(value)


@given(targets | anything)
def test_a_stored_row(value: object) -> None:
    """Rows that older versions, or others, have written."""
    row = read_row(written(value).encode())
    if row is not None:
        carried(row.target)


def test_what_is_too_long_is_not_kept() -> None:
    """But it says nothing against the rest; rows of older versions are cut when they are read."""
    big = {"a": "x" * MAX_ATTRIBUTES_BYTES}
    body = {"apiKey": "k", "target": {"identifier": "t", "name": "n", "attributes": big}}
    asked = read_auth_request(json.dumps(body).encode())
    assert (asked.target, asked.excess, asked.keep_attributes) == (Target("t", "n"), "attributes", False)
    row = msgspec.json.encode(Target("t", "n", big))
    assert read_row(row) == DescribedTarget(Target("t", "n"), 0)
    named = read_auth_request(
        json.dumps({"apiKey": "k", "target": {"identifier": "t", "name": "n" * 2000}}).encode()
    )
    assert (named.target, named.excess) == (Target("t"), "name")
    nobody = read_auth_request(json.dumps({"apiKey": "k", "target": {"identifier": "t" * 2000}}).encode())
    assert (nobody.target, nobody.excess) == (None, "identifier")
    header = base64.b64encode(json.dumps(body["target"]).encode())
    assert read_target_header(header) == Target("t", "n", big)


def test_attributes_that_grow_are_measured_as_kept() -> None:
    """``1e15`` is longer once it is written again."""
    grown = b'{"apiKey":"k","target":{"identifier":"t","attributes":{"a":[%b]}}}' % b",".join(
        [b"1e15"] * 5000
    )
    assert read_auth_request(grown).excess == "attributes"


@given(anything | targets)
def test_usage(value: object) -> None:
    """A body of usage is read as far as it can be, and what is read can be written."""
    entry = {"attributes": [{"key": "target", "value": value}], "count": value, "timestamp": value}
    for body in (
        {
            "metricsData": [entry, {**entry, "count": 1}],
            "targetData": [value, {"identifier": "t", "name": value}],
        },
        {"metricsData": value, "targetData": value},
        value,
    ):
        with refused_with_400():
            assert_usage_carried(written(body).encode())


def assert_usage_carried(body: bytes) -> None:
    """What is read of a body of usage can be written."""
    report = read_usage(body, ENVIRONMENT, 1)
    decode_json(write_usage(report.counts, report.targets))
    msgspec.msgpack.encode((report.counts, report.targets))


flags = described(
    dict.fromkeys(
        ("feature", "kind", "state", "variations", "rules", "defaultServe", "version", "offVariation")
    )
).map(lambda flag: flag | {"feature": "f", "variations": [{"identifier": "v", "value": flag.get("kind")}]})


@given(flags | anything)
def test_items_of_saas(value: object) -> None:
    """Flags and segments are made readable or rejected, and the engine reads what is served."""
    kinds: list[tuple[Callable[..., Item | Rejected], Callable[[bytes], object]]] = [
        (normalise_flag, read_feature),
        (normalise_segment, read_segment),
    ]
    try:
        doc = decode_json(written(value).encode())
    except MalformedJson:
        return
    for normalise, read in kinds:
        item = normalise(doc)
        if isinstance(item, Item):
            assert item.domain in Domain
            read(item.wire)
            assert normalise(decode_json(item.wire)) == item


@given(anything)
def test_other_answers_of_saas(value: object) -> None:
    """Pages, tokens and events: read or not, never an error that nobody expects."""
    body = written(value).encode()
    read_event(body)
    read_key_page(written({"apiKeys": [value, {"key": value}], "itemCount": value}).encode())
    page = read_target_page(written({"targets": [value, {"identifier": "t", "attributes": value}]}).encode())
    for target in [] if page is None else page.entries.values():
        carried(target)
    read_auth_token(written({"authToken": value}).encode())
    payload = base64.urlsafe_b64encode(written({"environment": "e", "accountID": value}).encode()).decode()
    info = read_claims(Secret(f"h.{payload}.s"))
    if info is not None:
        assert len(write_claims(info, hash_key("k"), 1)) < 4096
    read_info(ENVIRONMENT, [value, {"included": value}], [value])


@given(st.text(alphabet='\\"/u0041{}[]:,ab ', max_size=30) | anything.map(written))
@example('{"a":"\\"\\\\\\\\\\"x\\n\\u0041"}')
def test_json_in_evaluations_is_the_same_json_without_what_android_spoils(text: str) -> None:
    r"""No ``\"`` and no ``\\`` in the text of a JSON flag (trap 48)."""
    encoded = json.loads(encode_evaluation(Evaluation("f", "json", "v", text, Reason.DEFAULT)))["value"]
    try:
        meant = json.loads(text, strict=False)
    except ValueError:
        return
    assert repr(json.loads(encoded, strict=False)) == repr(meant) or "\ud800" in text
    assert '\\"' not in encoded
    assert "\\\\" not in encoded


@given(
    st.builds(EnvironmentInfo, st.just(ENVIRONMENT), texts, texts, texts, texts, texts, texts, texts), texts
)
def test_claims_are_never_missing(info: EnvironmentInfo, account: str) -> None:
    """Python and PHP SDKs read them without asking whether they are there (trap 47)."""
    said = json.loads(write_claims(info, hash_key("k"), 1, account=account))
    assert said["accountID"].strip()
    assert said["environmentIdentifier"].strip()
