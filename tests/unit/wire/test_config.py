"""Reading records, of what was normalised or not: total, and never wider than what was written."""

from typing import Any

import pytest

from ff_proxy.model.feature import (
    Clause,
    Distribution,
    FeatureConfig,
    Prerequisite,
    Segment,
    SegmentRule,
    Serve,
    ServingRule,
    Variation,
    VariationMap,
    WeightedVariation,
)
from ff_proxy.model.target import Target
from ff_proxy.wire.config import read_target
from tests.support.engines import flag_record, segment_record

FLAG = {"feature": "f", "variations": [{"identifier": name, "value": name} for name in "ab"]}
SEGMENT = {"identifier": "s"}
CLAUSE = {"id": "x", "attribute": "plan", "op": "in", "values": ["a", "b"], "negate": False}


def test_a_whole_flag() -> None:
    """Every field that the engine knows, by its wire name."""
    doc = {
        "feature": "f",
        "kind": "int",
        "state": "on",
        "variations": [{"identifier": "one", "name": "One", "value": "1"}],
        "offVariation": "one",
        "defaultServe": {
            "distribution": {"bucketBy": "plan", "variations": [{"variation": "one", "weight": 7}]}
        },
        "rules": [{"ruleId": "r", "priority": -2, "clauses": [CLAUSE], "serve": {"variation": "one"}}],
        "variationToTargetMap": [
            {"variation": "one", "targets": [{"identifier": "t", "name": "T"}], "targetSegments": ["s"]}
        ],
        "prerequisites": [{"feature": "g", "variations": ["on"]}],
        "version": 5,
    }
    assert flag_record(doc) == FeatureConfig(
        identifier="f",
        kind="int",
        on=True,
        variations=(Variation("one", "1"),),
        off_variation="one",
        default_serve=Serve(distribution=Distribution("plan", (WeightedVariation("one", 7),))),
        rules=(ServingRule(-2, (Clause("plan", "in", ("a", "b")),), Serve("one")),),
        variation_map=(VariationMap("one", ("t",), ("s",)),),
        prerequisites=(Prerequisite("g", ("on",)),),
        version=5,
    )


def test_a_whole_segment() -> None:
    """Both forms of rules are kept."""
    doc = {
        "identifier": "s",
        "included": [{"identifier": "in", "name": "I"}],
        "excluded": [{"identifier": "out"}],
        "rules": [CLAUSE],
        "servingRules": [{"ruleId": "r", "priority": 3, "clauses": [CLAUSE]}],
        "version": 2,
    }
    clause = Clause("plan", "in", ("a", "b"))
    assert segment_record(doc) == Segment(
        "s", frozenset({"in"}), frozenset({"out"}), (clause,), (SegmentRule(3, (clause,)),), 2
    )


def test_a_whole_target() -> None:
    """Attributes keep their JSON types."""
    attributes = {"n": 1.5, "l": [True, None], "o": {"k": "v"}}
    doc = {"identifier": "t", "name": "T", "anonymous": True, "attributes": attributes}
    assert read_target(doc) == Target("t", "T", attributes, anonymous=True)


@pytest.mark.parametrize("doc", [None, [], "x", 1, True, {}])
def test_nothing_to_read(doc: object) -> None:
    """What is no object reads as an empty one; a target then is none."""
    assert flag_record(doc) == FeatureConfig(
        "", "", on=False, variations=(), off_variation="", default_serve=Serve()
    )
    assert segment_record(doc) == Segment("")
    assert read_target(doc) is None


@pytest.mark.parametrize("identifier", [None, "", 5, ["t"]])
def test_a_target_without_identifier_is_none(identifier: object) -> None:
    """Nobody in particular is no target."""
    assert read_target({"identifier": identifier, "name": "T"}) is None


@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        ({}, Serve()),
        (None, Serve()),
        ({"variation": None, "distribution": None}, Serve()),
        ({"variation": ""}, Serve("")),
        ({"distribution": {}}, Serve(None, Distribution("", ()))),
        ({"distribution": {"bucketBy": "x", "variations": None}}, Serve(None, Distribution("x", ()))),
        ({"distribution": "x"}, Serve()),
    ],
)
def test_absent_and_empty_serves_differ(serve: object, expected: Serve) -> None:
    """An empty distribution or variation is there; null and nonsense are not.

    See spec/evaluation#rules, spec/evaluation#distribution.
    """
    assert flag_record(FLAG | {"defaultServe": serve}).default_serve == expected
    assert flag_record(FLAG | {"rules": [{"serve": serve}]}).rules[0].serve == expected


@pytest.mark.parametrize(
    ("field", "text"),
    [("a", "a"), (True, "true"), (5, "5"), (5.0, "5"), (2.5, "2.5"), ([], "[]"), ({"k": 1}, '{"k":1}')],
)
def test_any_value_reads_as_text(field: object, text: str) -> None:
    """YAML writers forget quotes: what is no text stands for its JSON."""
    variations = [{"identifier": "a", "value": field}, {"identifier": "b"}]
    expected = (Variation("a", text), Variation("b", ""))
    assert flag_record(FLAG | {"variations": variations}).variations == expected
    assert segment_record(SEGMENT | {"rules": [{"values": [field]}]}).rules[0].values == (text,)


@pytest.mark.parametrize("number", [10**400, -(10**400), float("inf"), float("nan"), "7", True, None])
def test_numbers_out_of_range_are_zero(number: object) -> None:
    """A weight, priority or version that no int64 holds is 0."""
    shares = {"distribution": {"variations": [{"variation": "a", "weight": number}]}}
    flag = flag_record(FLAG | {"version": number, "rules": [{"priority": number}], "defaultServe": shares})
    assert (flag.version, flag.rules[0].priority) == (0, 0)
    assert flag.default_serve.distribution == Distribution("", (WeightedVariation("a", 0),))


@pytest.mark.parametrize("junk", [None, 5, "x", {}, True])
def test_lists_that_are_none_are_empty(junk: object) -> None:
    """The wrong type in place of a list holds no entries."""
    flag = flag_record(FLAG | dict.fromkeys(("rules", "variationToTargetMap", "prerequisites"), junk))
    assert (flag.rules, flag.variation_map, flag.prerequisites) == ((), (), ())
    lists = dict.fromkeys(("included", "excluded", "rules", "servingRules"), junk)
    assert segment_record(SEGMENT | lists) == Segment("s")


def test_entries_that_are_no_objects_are_dropped() -> None:
    """The others stay."""
    usable = [{"identifier": "a", "value": "1"}, {"identifier": "b", "value": "2"}]
    flag = flag_record(FLAG | {"variations": [None, 5, *usable, []]})
    assert flag.variations == (Variation("a", "1"), Variation("b", "2"))
    members: list[Any] = ["a", None, {"identifier": "b"}, {"identifier": 5}]
    assert segment_record(SEGMENT | {"included": members}).included == {"b"}


@pytest.mark.parametrize("junk", [None, "plan equal pro", 5, []])
def test_an_unreadable_clause_does_not_widen_its_rule(junk: object) -> None:
    """It stays as a clause that never holds: without it, the rule would match everyone."""
    flag = flag_record(FLAG | {"rules": [{"clauses": [junk], "serve": {"variation": "a"}}]})
    assert flag.rules == (ServingRule(0, (Clause("", "", ()),), Serve("a")),)


def test_a_rule_whose_clauses_are_no_list_is_dropped() -> None:
    """Absent and null clauses are none, which matches everyone (spec/evaluation#rules); nonsense is not."""
    rules: list[Any] = [{"clauses": "x"}, {"clauses": {}}, {"clauses": None}, {}]
    rule = ServingRule(0, (), Serve())
    assert flag_record(FLAG | {"rules": rules}).rules == (rule, rule)


def test_lone_surrogates_are_replaced() -> None:
    """As Go's decoder does, in names, keys and values at any depth; real pairs stay."""
    target = read_target({"identifier": "a\ud800", "attributes": {"k\udc00": ["\ud800", {"\ud800": "😀"}]}})
    assert target == Target("a\ufffd", "", {"k\ufffd": ["\ufffd", {"\ufffd": "😀"}]})
    assert flag_record(FLAG | {"feature": "\ud800"}).identifier == "\ufffd"


def test_depth_of_attributes_is_bounded() -> None:
    """An attribute nested deeper than any stack is cut, not an error."""
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    target = read_target({"identifier": "t", "attributes": {"deep": value, "flat": 1}})
    assert target is not None
    assert target.attributes["flat"] == 1
    assert str(target.attributes["deep"]).endswith("[None" + "]" * 100)
