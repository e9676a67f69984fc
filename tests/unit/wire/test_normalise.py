"""Items that every SDK can read, whatever the source says (spec/sdk-wire#bodies)."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.model.environment import Item
from ff_proxy.wire.normalise import (
    Rejected,
    derives_legacy_rules,
    normalise_flag,
    normalise_segment,
    segment_forms,
    with_version,
)
from tests.support.thorough import examples
from tests.support.typed_sdks import Flag, Group

FLAG: dict[str, Any] = {
    "feature": "checkout",
    "project": "shop",
    "environment": "prod",
    "kind": "boolean",
    "state": "on",
    "variations": [{"identifier": "t", "value": "true"}, {"identifier": "f", "value": "false"}],
    "defaultServe": {"variation": "t"},
    "offVariation": "f",
    "version": 3,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    "feature identifier variations defaultServe rules variationToTargetMap prerequisites servingRules "  # noqa: SIM905  (a list of so many does not fit a line)
    "included excluded tags version kind state offVariation name".split()
)


CLAUSE = {"id": "c", "attribute": "a", "op": "equal", "negate": False, "values": ["1"]}
MEMBER = {
    "identifier": "ann",
    "name": "Ann",
    "account": "a",
    "org": "o",
    "project": "p",
    "environment": "e",
    "attributes": {"a": 1},
    "anonymous": False,
    "createdAt": 1,
    "segments": [{"identifier": "s", "name": "S"}],
}
SHARES = [{"variation": "t", "weight": 40}, {"variation": "f", "weight": 60}]
FULL_FLAG: dict[str, Any] = FLAG | {
    "variations": [
        {"identifier": "t", "value": "true", "name": "T", "description": "d"},
        {"identifier": "f", "value": "false"},
    ],
    "rules": [
        {
            "ruleId": "r",
            "priority": 1,
            "clauses": [CLAUSE],
            "serve": {"distribution": {"bucketBy": "identifier", "variations": SHARES}},
        }
    ],
    "prerequisites": [{"feature": "p", "variations": ["t"]}],
    "variationToTargetMap": [
        {"variation": "t", "targets": [{"identifier": "a", "name": "A"}], "targetSegments": ["s"]}
    ],
}
FULL_SEGMENT: dict[str, Any] = {
    "identifier": "beta",
    "name": "Beta",
    "environment": "e",
    "included": [MEMBER],
    "excluded": [MEMBER],
    "tags": [{"name": "t", "identifier": "t"}],
    "rules": [CLAUSE],
    "servingRules": [{"ruleId": "r", "priority": 1, "clauses": [CLAUSE]}],
    "createdAt": 1,
    "modifiedAt": 2,
    "version": 1,
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a document something stands; not the document itself."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in items:
        yield from places(part, (*path, name))


def with_parts(doc: dict[str, Any], parts: list[tuple[tuple[Any, ...], object]]) -> dict[str, Any]:
    """A copy of a document with other values at some places, as far as these still exist."""
    changed = copy.deepcopy(doc)
    for path, value in parts:
        owner: Any = changed
        try:
            for name in path[:-1]:
                owner = owner[name]
            owner[path[-1]] = value
        except (IndexError, KeyError, TypeError):
            continue
    return changed


def served(**fields: object) -> dict[str, Any]:
    """The wire form of FLAG with ``fields`` replaced."""
    item = normalise_flag(FLAG | fields)
    assert isinstance(item, Item), item
    doc: dict[str, Any] = json.loads(item.wire)
    return doc


def segment(**fields: object) -> dict[str, Any]:
    """The wire form of a segment."""
    item = normalise_segment({"identifier": "beta"} | fields)
    assert isinstance(item, Item), item
    doc: dict[str, Any] = json.loads(item.wire)
    return doc


def test_unknown_fields_survive() -> None:
    """SDKs get what SaaS sent."""
    doc = served(novelty={"a": [1, None]}, variations=[{"identifier": "t", "value": "x", "tint": 3}] * 2)
    assert doc["novelty"] == {"a": [1, None]}
    assert doc["variations"][0]["tint"] == 3


def test_arrays_that_sdks_need_are_there() -> None:
    """Absent and null become empty (trap 24)."""
    for empty in ({}, {"rules": None, "prerequisites": None, "variationToTargetMap": None}):
        doc = served(**empty)
        assert doc["rules"] == doc["prerequisites"] == doc["variationToTargetMap"] == []


def test_nulls_that_break_the_python_sdk_are_gone() -> None:
    """A null distribution and null target segments are absent (trap 24)."""
    doc = served(
        defaultServe={"variation": "t", "distribution": None},
        rules=[{"priority": 1, "clauses": None, "serve": {"distribution": None, "variation": "t"}}],
        variationToTargetMap=[{"variation": "t", "targets": None, "targetSegments": None}],
    )
    assert doc["defaultServe"] == {"variation": "t"}
    assert doc["rules"][0] == {"priority": 1, "clauses": [], "serve": {"variation": "t"}}
    assert doc["variationToTargetMap"] == [{"variation": "t"}]


def test_values_are_text_and_integers_are_integers() -> None:
    """Go rejects numbers in values and floats in weights and versions."""
    doc = served(
        version=4.0,
        kind="int",
        variations=[{"identifier": "a", "value": 1.0}, {"identifier": "b", "value": {"x": True}}],
        rules=[
            {
                "priority": 2.0,
                "clauses": [{"attribute": "age", "op": "in", "values": [1, 2.5, True, None, "x"]}],
                "serve": {
                    "distribution": {
                        "bucketBy": None,
                        "variations": [
                            {"variation": "a", "weight": 30.0},
                            {"variation": "b", "weight": None},
                        ],
                    }
                },
            }
        ],
    )
    assert doc["version"] == 4
    assert isinstance(doc["version"], int)
    assert [variation["value"] for variation in doc["variations"]] == ["1", '{"x":true}']
    assert doc["rules"][0]["clauses"][0]["values"] == ["1", "2.5", "true", "x"]
    assert doc["rules"][0]["serve"]["distribution"] == {
        "bucketBy": "",
        "variations": [{"variation": "a", "weight": 30}, {"variation": "b", "weight": 0}],
    }


def test_a_lone_variation_is_given_a_twin() -> None:
    """Ruby dies of a flag with one variation (trap 26); the first of equals wins, so nothing changes."""
    doc = served(variations=[{"identifier": "t", "value": "true"}])
    assert doc["variations"] == [{"identifier": "t", "value": "true"}] * 2


@pytest.mark.parametrize(
    ("said", "served_as"),
    [
        ("BOOLEAN", "boolean"),
        ("bool", "boolean"),
        ("number", "int"),
        ("json", "json"),
        ("odd", "string"),
        (7, "string"),
    ],
)
def test_kinds_are_those_of_the_schema(said: object, served_as: str) -> None:
    """An enum that Python, Java and .NET reject a whole list for."""
    assert served(kind=said)["kind"] == served_as


@pytest.mark.parametrize(
    ("said", "served_as"), [("on", "on"), ("ON", "off"), ("", "off"), (None, "off"), (1, "off")]
)
def test_state_is_on_or_off(said: object, served_as: str) -> None:
    """Anything but exactly "on" evaluates as off, and is served so."""
    assert served(state=said)["state"] == served_as


def test_versions_are_always_there() -> None:
    """Go panics and Python raises without one (trap 27)."""
    odd: list[object] = [None, "7", -3, True, [], 1e300]
    for said in odd:
        assert served(version=said)["version"] == 0


@pytest.mark.parametrize(
    "doc", [None, [], "x", {}, {"feature": ""}, {"feature": 3}, FLAG | {"variations": []}]
)
def test_what_no_sdk_could_read_is_rejected(doc: object) -> None:
    """With a sentence; the rest of its list is served."""
    rejected = normalise_flag(doc)
    assert isinstance(rejected, Rejected)
    assert rejected.problem


def test_members_have_all_that_python_and_dotnet_need() -> None:
    """Targets in a segment carry six texts and no null attributes (trap 25); tags carry two."""
    doc = segment(
        included=[{"identifier": "ana", "attributes": None}, {"name": "nobody"}, None],
        excluded=[{"identifier": "bo", "name": "Bo", "attributes": {"a": 1}}],
        tags=[{"name": "t"}, {}],
    )
    assert doc["included"] == [
        {"identifier": "ana", "account": "", "org": "", "environment": "", "project": "", "name": "ana"}
    ]
    assert doc["excluded"][0]["attributes"] == {"a": 1}
    assert doc["tags"] == [{"name": "t", "identifier": "t"}]
    assert doc["name"] == "beta"


def test_both_forms_of_a_segment_are_kept() -> None:
    """The legacy answer's rules stand beside the v2 answer's serving rules (spec/behaviour#segment-forms)."""
    clause = {"attribute": "a", "op": "equal", "values": ["x"]}
    serving = [{"ruleId": "r", "priority": 1, "clauses": [clause, clause]}]
    other = {"attribute": "b", "op": "in", "values": ["y"]}
    item = normalise_segment(
        {"identifier": "beta", "servingRules": serving}, {"identifier": "beta", "rules": [other]}
    )
    assert isinstance(item, Item)
    legacy, v2 = (json.loads(form) for form in segment_forms(item.wire))
    assert [rule["attribute"] for rule in legacy["rules"]] == ["b"]
    assert len(v2["servingRules"][0]["clauses"]) == 2
    assert not derives_legacy_rules({"servingRules": serving}, {"rules": [other]})


def test_legacy_rules_are_made_only_where_the_source_has_none() -> None:
    """Of the first clause of each group, as the Go proxy makes them."""
    clause = {"attribute": "a", "op": "equal", "values": ["x"]}
    serving = [
        {"ruleId": "r", "priority": 1, "clauses": [clause]},
        {"ruleId": "s", "priority": 2, "clauses": []},
    ]
    assert [rule["attribute"] for rule in segment(servingRules=serving)["rules"]] == ["a"]
    assert derives_legacy_rules({"servingRules": serving}, {"rules": []})


def test_a_version_is_part_of_the_wire_but_not_of_the_digest() -> None:
    """Raising it changes nothing else."""
    item = normalise_flag(FLAG)
    assert isinstance(item, Item)
    raised = with_version(item, 12)
    assert json.loads(raised.wire) == json.loads(item.wire) | {"version": 12}
    assert raised.digest == item.digest
    assert with_version(item, 3) is item


def test_text_that_utf8_cannot_hold_is_replaced() -> None:
    """Lone surrogates become U+FFFD, as Go's decoder makes them."""
    assert served(offVariation="a\ud800b")["offVariation"] == "a\ufffdb"


def test_nonsense_never_widens_a_rule() -> None:
    """An unreadable clause stays as one that never holds; a rule whose clauses are no list is gone."""
    good = {"attribute": "plan", "op": "equal", "values": ["gold"]}
    doc = served(
        rules=[
            {"priority": 1, "clauses": [good, "nonsense"], "serve": {"variation": "f"}},
            {"priority": 2, "clauses": "nonsense", "serve": {"variation": "f"}},
        ]
    )
    assert len(doc["rules"]) == 1
    assert [clause["op"] for clause in doc["rules"][0]["clauses"]] == ["equal", ""]
    groups = segment(servingRules=[{"priority": 1, "clauses": [3, good]}, {"priority": 2, "clauses": {}}])
    assert [[clause["op"] for clause in group["clauses"]] for group in groups["servingRules"]] == [
        ["", "equal"]
    ]


def test_absurd_depth_is_cut() -> None:
    """A value nested thousands deep costs its depth, not the process."""
    deep: object = "x"
    for _ in range(5000):
        deep = [deep]
    assert isinstance(normalise_flag(FLAG | {"novelty": deep}), Item)


@settings(max_examples=examples(0.6))
@given(st.lists(st.tuples(st.sampled_from([*places(FULL_FLAG)]), JSON), min_size=1, max_size=3))
def test_typed_sdks_can_read_a_flag_with_wrong_types(parts: list[tuple[tuple[Any, ...], object]]) -> None:
    """One value of another type, and they would read nothing of the whole list."""
    item = normalise_flag(with_parts(FULL_FLAG, parts))
    if isinstance(item, Item):
        msgspec.json.decode(item.wire, type=Flag)
        assert normalise_flag(msgspec.json.decode(item.wire)) == item


@settings(max_examples=examples(0.6))
@given(st.lists(st.tuples(st.sampled_from([*places(FULL_SEGMENT)]), JSON), min_size=1, max_size=3))
def test_typed_sdks_can_read_a_group_with_wrong_types(parts: list[tuple[tuple[Any, ...], object]]) -> None:
    """In both of its forms."""
    item = normalise_segment(with_parts(FULL_SEGMENT, parts))
    if isinstance(item, Item):
        for form in segment_forms(item.wire):
            msgspec.json.decode(form, type=Group)
        assert normalise_segment(msgspec.json.decode(item.wire)) == item


def test_a_document_that_is_right_is_left_alone() -> None:
    """Whatever optional fields it has."""
    for doc, normalise in ((FULL_FLAG, normalise_flag), (FULL_SEGMENT, normalise_segment)):
        item = normalise(doc)
        assert isinstance(item, Item)
        assert json.loads(item.wire) == doc


def test_labels_that_are_numbers_become_text() -> None:
    """As people write them in YAML."""
    doc = served(
        variations=[{"identifier": "t", "name": True, "value": True}, {"identifier": "f", "name": 2}]
    )
    assert [variation["name"] for variation in doc["variations"]] == ["true", "2"]
    assert segment(servingRules=[{"ruleId": 7, "clauses": []}])["servingRules"][0]["ruleId"] == "7"


@settings(max_examples=examples(0.6))
@given(st.dictionaries(FIELDS | st.text(max_size=5), JSON, max_size=8))
def test_any_json_is_an_item_or_rejected_and_an_item_is_stable(doc: dict[str, Any]) -> None:
    """Total on bad data; what comes out is what would come out again."""
    for normalise in (normalise_flag, normalise_segment):
        item = normalise(doc)
        if isinstance(item, Item):
            assert normalise(msgspec.json.decode(item.wire)) == item
