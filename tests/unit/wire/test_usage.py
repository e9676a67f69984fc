"""Reading what SDKs post and writing what SaaS takes."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ff_proxy.errors import RequestError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.wire.usage import SdkLabels, UsageReport, write_usage
from ff_proxy.wire.usage_reader import MAX_ENTRY_BYTES
from tests.support.usage_body import read_usage

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")
NOW = 1_700_000_000_000


def entry(**fields: object) -> dict[str, object]:
    """A count as an SDK posts it; ``fields`` replace or add wire fields."""
    usual: dict[str, object] = {
        "timestamp": 1_699_999_999_999,
        "count": 3,
        "metricsType": "FFMETRICS",
        "attributes": [
            {"key": "featureIdentifier", "value": "checkout"},
            {"key": "variationIdentifier", "value": "true"},
            {"key": "SDK_TYPE", "value": "server"},
        ],
    }
    return usual | fields


def read(*counts: object, targets: object = None, **more: object) -> UsageReport:
    """Read a body of these entries."""
    body = {"metricsData": list(counts), "targetData": targets} | more
    return read_usage(json.dumps(body).encode(), ENV, NOW)


def test_a_count_is_read_in_canonical_order() -> None:
    """Attributes are sorted, and their values are JSON text."""
    report = read(entry())
    assert report.counts == (
        UsageCount(
            UsageKey(
                ENV,
                "FFMETRICS",
                (
                    ("SDK_TYPE", '"server"'),
                    ("featureIdentifier", '"checkout"'),
                    ("variationIdentifier", '"true"'),
                ),
            ),
            3,
            1_699_999_999_999,
        ),
    )
    assert report.bad == 0


def test_a_target_is_read() -> None:
    """Attributes of any type stay what they are; the name falls back to the identifier."""
    report = read(
        targets=[
            {"identifier": "x", "name": "X", "attributes": [{"key": "age", "value": 7}]},
            {"identifier": "y", "name": None},
        ]
    )
    assert report.targets == (UsageTarget(ENV, "x", "X", (("age", "7"),)), UsageTarget(ENV, "y", "y", ()))


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"metricsData":null,"targetData":null}',
        b'{"metricsData":[],"targetData":[]}',
        b'{"other":{"x":1}}',
    ],
)
def test_an_empty_body_is_fine(body: bytes) -> None:
    """Either array may be absent, null or empty, and unknown keys do no harm."""
    assert read_usage(body, ENV, NOW) == UsageReport((), (), SdkLabels(), 0)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"7", b"{", b'{"metricsData":[}', b"{} x", b"\xff", b"[" * 100_000]
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    """Nothing can be made of it: 400."""
    with pytest.raises(RequestError) as refused:
        read_usage(body, ENV, NOW)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "odd",
    [
        None,
        {},
        7,
        "text",
        [],
        entry(count=None),
        entry(count=0),
        entry(count=-1),
        entry(count=1.5),
        entry(count="3"),
        entry(count=True),
        entry(count=2**53),
        entry(metricsType=7),
        entry(attributes=None),
        entry(attributes=[]),
        entry(attributes=[{}, None, {"value": "x"}, {"key": 7, "value": "x"}]),
        entry(attributes="text"),
        entry(attributes=[7]),
        entry(attributes=[{"key": "k", "value": "v" * MAX_ENTRY_BYTES}]),
    ],
)
def test_a_bad_count_is_left_out_and_the_others_stay(odd: object) -> None:
    """One entry that cannot be used costs only itself."""
    report = read(entry(), odd, entry(count=5))
    assert [count.count for count in report.counts] == [3, 5]
    assert report.bad == 1


@pytest.mark.parametrize(
    "odd", [None, {}, 7, {"identifier": ""}, {"identifier": 7}, {"identifier": "x", "attributes": {"a": 1}}]
)
def test_a_bad_target_is_left_out_and_the_others_stay(odd: object) -> None:
    """One target that cannot be used costs only itself."""
    report = read(targets=[{"identifier": "a"}, odd, {"identifier": "b"}])
    assert [target.identifier for target in report.targets] == ["a", "b"]
    assert report.bad == 1


def test_an_array_of_another_type_counts_as_one_bad_entry() -> None:
    """The other array is still read."""
    report = read_usage(
        json.dumps({"metricsData": {"a": 1}, "targetData": [{"identifier": "a"}]}).encode(), ENV, NOW
    )
    assert (len(report.counts), len(report.targets), report.bad) == (0, 1, 1)


@pytest.mark.parametrize("timestamp", [None, 0, -5, "now", 1e300, [1]])
def test_a_missing_timestamp_is_the_time_of_arrival(timestamp: object) -> None:
    """A count without a usable time is still a count."""
    assert read(entry(timestamp=timestamp)).counts[0].timestamp == NOW


def test_whole_floats_are_integers() -> None:
    """JavaScript-like producers write 3.0 for 3."""
    assert read(entry(count=3.0)).counts[0].count == 3


def test_a_missing_type_is_the_usual_one() -> None:
    """Counts with and without the type meet."""
    usual = entry()
    del usual["metricsType"]
    report = read(usual, entry())
    assert report.counts[0].key == report.counts[1].key


def test_pairs_without_a_key_are_left_out_silently() -> None:
    """Java and Ruby leave an empty object for a private attribute."""
    report = read(
        targets=[{"identifier": "a", "attributes": [{}, None, {"key": "k"}, {"key": "k", "value": "v"}]}]
    )
    assert report.targets[0].attributes == (("k", '"v"'), ("k", "null"))
    assert report.bad == 0


def value_of(raw: bytes) -> str:
    """How a value with this JSON text is kept."""
    body = b'{"metricsData":[{"count":1,"attributes":[{"key":"k","value":%b}]}]}' % raw
    return read_usage(body, ENV, NOW).counts[0].key.attributes[0][1]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"null", "null"),
        (b"true", "true"),
        (b"1.0", "1.0"),
        (b"1", "1"),
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
        (b"1e999", "1e999"),
        (b'""', '""'),
        ('"é"'.encode(), '"é"'),
        (b'"\\u00e9"', '"é"'),
        (b'"a\\/b"', '"a/b"'),
        (b'{ "a" : [ 1 , 2.50 ] }', '{"a":[1,2.50]}'),
        (b'"cut \\ud83d"', '"cut �"'),
    ],
)
def test_values_are_kept_as_one_compact_text(raw: bytes, kept: str) -> None:
    """What means the same has the same text; numbers are left exactly as they came."""
    assert value_of(raw) == kept


def test_a_body_with_nan_is_repaired() -> None:
    """Python writes NaN, which no strict reader takes: it becomes null."""
    body = b'{"metricsData":[{"count":1,"attributes":[{"key":"k","value":NaN}]}]}'
    assert read_usage(body, ENV, NOW).counts[0].key.attributes == (("k", "null"),)


def test_duplicate_keys_of_the_list_stay() -> None:
    """The merge key is the whole list."""
    report = read(entry(attributes=[{"key": "k", "value": "b"}, {"key": "k", "value": "a"}]))
    assert report.counts[0].key.attributes == (("k", '"a"'), ("k", '"b"'))


def labelled(**attributes: str) -> SdkLabels:
    """The labels of a post with one count of these attributes."""
    return read(entry(attributes=[{"key": key, "value": value} for key, value in attributes.items()])).sdk


def test_the_sdk_is_named_by_its_attributes() -> None:
    """Old Java SDKs say JAR_VERSION."""
    assert labelled(SDK_TYPE="server", SDK_VERSION="1.2", SDK_LANGUAGE="go") == SdkLabels(
        "server", "1.2", "go"
    )
    assert labelled(SDK_TYPE="client", JAR_VERSION="3") == SdkLabels("client", "3", "")
    assert labelled(target="global") == SdkLabels()


def test_the_body_for_saas_has_the_shape_of_the_contract() -> None:
    """spec/sdk-wire#usage-body: values leave as what they came as."""
    report = read(
        entry(attributes=[{"key": "target", "value": None}, {"key": "b", "value": 1.5}]),
        targets=[{"identifier": "x", "name": "X", "attributes": [{"key": "é", "value": {"a": []}}]}],
    )
    assert json.loads(write_usage(report.counts, report.targets)) == {
        "targetData": [{"identifier": "x", "name": "X", "attributes": [{"key": "é", "value": {"a": []}}]}],
        "metricsData": [
            entry(attributes=[{"key": "b", "value": 1.5}, {"key": "target", "value": None}]),
        ],
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
pairs = st.lists(st.fixed_dictionaries({"key": texts, "value": json_values}), min_size=1, max_size=4)
# The first draw builds tables of Unicode: slow on a busy machine, and no matter of this test.
unhurried = settings(suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(st.lists(st.fixed_dictionaries({"count": st.integers(1, 99), "attributes": pairs}), max_size=4))
def test_what_was_written_reads_back_the_same(counts: list[dict[str, Any]]) -> None:
    """Writing what was read and reading it again changes nothing."""
    first = read(*counts)
    assert first.bad == 0
    assert len(first.counts) == len(counts)
    assert read_usage(write_usage(first.counts, first.targets), ENV, 1) == first


@given(
    st.fixed_dictionaries({}, optional={"metricsData": json_values, "targetData": json_values}) | json_values
)
def test_no_json_breaks_the_reader(document: object) -> None:
    """Any document is either read or refused."""
    body = json.dumps(document).encode()
    if isinstance(document, dict):
        read_usage(body, ENV, NOW)
    else:
        with pytest.raises(RequestError):
            read_usage(body, ENV, NOW)
