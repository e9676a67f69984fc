"""One flag's steps: map, rules, default.

See spec/evaluation#one-flag, spec/evaluation#rules, spec/evaluation#variation-map, spec/evaluation#no-target.
"""

from typing import Any

import pytest

from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.target import Target
from tests.support.engines import ALICE, Doc, clause, engine_of, feature, in_segments, outcome, rollout, rule

PRO = clause("plan", "equal", "pro")
FREE = clause("plan", "equal", "free")


def _asked(
    target: Target | None = ALICE, segments: tuple[Doc, ...] = (), **fields: Any
) -> tuple[str, Reason]:
    return outcome(engine_of(feature(**fields), segments=segments), target=target)


def _mapped(variation: str, *targets: str, segments: tuple[str, ...] = ()) -> Doc:
    entries = [{"identifier": target, "name": ""} for target in targets]
    return {"variation": variation, "targets": entries, "targetSegments": list(segments)}


@pytest.mark.parametrize("state", ["off", "", "ON", "paused", None, 1])
def test_anything_but_on_is_off(state: object) -> None:
    """Only the exact state ``on`` is on; rules are not consulted otherwise."""
    assert _asked(state=state, rules=[rule("b")]) == ("c", Reason.OFF)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule("b", PRO)], ("b", Reason.RULE)),
        ([rule("b", FREE)], ("a", Reason.DEFAULT)),
        ([rule("b", PRO, FREE)], ("a", Reason.DEFAULT)),
        ([rule("b", PRO, clause("country", "in", "DE"))], ("b", Reason.RULE)),
        ([rule("b")], ("b", Reason.RULE)),
        ([rule("b", priority=2), rule("c", priority=1)], ("c", Reason.RULE)),
        ([rule("b", priority=0), rule("c", priority=-1)], ("c", Reason.RULE)),
        ([rule("b"), rule("c")], ("b", Reason.RULE)),
        ([{"clauses": [PRO], "serve": {}}, rule("b", PRO)], ("b", Reason.RULE)),
        ([{"clauses": [PRO]}, rule("b", PRO)], ("b", Reason.RULE)),
        ([rule("", PRO), rule("b", PRO)], ("a", Reason.DEFAULT)),
        ([rule("x", PRO), rule("b", PRO)], ("", Reason.UNKNOWN_VARIATION)),
        (
            [{"clauses": [PRO], "serve": {"variation": "b"} | rollout("identifier", c=100)}],
            ("c", Reason.RULE_DISTRIBUTION),
        ),
        (
            [{"clauses": [PRO], "serve": {"variation": "b"} | rollout("identifier")}, rule("c")],
            ("a", Reason.DEFAULT),
        ),
        ([{"clauses": [], "serve": {"distribution": None, "variation": "b"}}], ("b", Reason.RULE)),
    ],
)
def test_rules(rules: list[Doc], expected: tuple[str, Reason]) -> None:
    """By priority, all clauses, the first that serves anything; what it names is final."""
    assert _asked(rules=rules) == expected


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([_mapped("b", "bob", "alice")], ("b", Reason.TARGET_MAP)),
        ([_mapped("b", "Alice")], ("a", Reason.RULE)),
        ([_mapped("b", segments=("all",))], ("b", Reason.SEGMENT_MAP)),
        ([_mapped("b", segments=("all",)), _mapped("c", "alice")], ("b", Reason.SEGMENT_MAP)),
        ([_mapped("c", "alice"), _mapped("b", segments=("all",))], ("c", Reason.TARGET_MAP)),
        ([_mapped("b", "alice", segments=("all",))], ("b", Reason.TARGET_MAP)),
        ([_mapped("b", segments=("unknown", "all"))], ("b", Reason.SEGMENT_MAP)),
        ([_mapped("", "alice"), _mapped("b", "alice")], ("a", Reason.RULE)),
        ([_mapped("x", "alice")], ("", Reason.UNKNOWN_VARIATION)),
        ([{"variation": "b", "targetSegments": ["all"]}], ("b", Reason.SEGMENT_MAP)),
        ([{"variation": "b"}], ("a", Reason.RULE)),
    ],
)
def test_variation_map(entries: list[Doc], expected: tuple[str, Reason]) -> None:
    """Entry by entry, named targets before segments; a hit without variation goes on to the rules."""
    everyone = {"identifier": "all", "included": [{"identifier": "alice"}]}
    assert _asked(variationToTargetMap=entries, rules=[rule("a", PRO)], segments=(everyone,)) == expected


def test_an_empty_identifier_is_in_no_map() -> None:
    """A target that names nobody is not the target that nobody named."""
    assert _asked(Target(""), variationToTargetMap=[_mapped("b", "")]) == ("a", Reason.DEFAULT)


@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        ({"variation": "b"}, ("b", Reason.DEFAULT)),
        (rollout("identifier", b=100), ("b", Reason.DISTRIBUTION)),
        ({"variation": "a"} | rollout("identifier", b=100), ("b", Reason.DISTRIBUTION)),
        ({"variation": "a"} | rollout("identifier"), ("a", Reason.DEFAULT)),
        ({"variation": "a"} | {"distribution": {}}, ("a", Reason.DEFAULT)),
        ({"variation": "b"} | {"distribution": {"variations": [{"weight": 100}]}}, ("b", Reason.DEFAULT)),
        (rollout("identifier", a=1, b=1), ("b", Reason.DISTRIBUTION)),
        (rollout("identifier", x=100), ("", Reason.UNKNOWN_VARIATION)),
        ({}, ("", Reason.NO_VARIATION)),
        ({"variation": ""}, ("", Reason.NO_VARIATION)),
        ({"variation": "A"}, ("", Reason.UNKNOWN_VARIATION)),
    ],
)
def test_default(serve: Doc, expected: tuple[str, Reason]) -> None:
    """A distribution beats a plain variation unless it names none."""
    assert _asked(defaultServe=serve) == expected


def test_the_bucket_is_that_of_the_attribute() -> None:
    """``identifier:test`` is in bucket 57 (spec/evaluation#distribution)."""
    target = Target("test")
    assert _asked(target, defaultServe=rollout("identifier", a=56, b=44)) == ("b", Reason.DISTRIBUTION)
    assert _asked(target, defaultServe=rollout("plan", a=57, b=43)) == ("a", Reason.DISTRIBUTION)


def test_no_target() -> None:
    """Map and rules are skipped, also a rule that matches everyone; a distribution gives its last share."""
    fields: Doc = {"rules": [rule("b")], "variationToTargetMap": [_mapped("b", "")]}
    assert _asked(None, **fields) == ("a", Reason.DEFAULT)
    serve = rollout("identifier", a=99, c=1)
    assert _asked(None, **fields, defaultServe=serve) == ("c", Reason.DISTRIBUTION)
    assert _asked(Target(""), defaultServe=serve) == ("c", Reason.DISTRIBUTION)


def test_a_rule_for_everyone_in_a_segment_of_nobody() -> None:
    """The attribute of a segment clause is not looked at."""
    members = {"identifier": "s", "included": [{"identifier": "alice"}]}
    clauses = [clause("absent", "segmentMatch", "s"), in_segments("s")]
    assert _asked(rules=[rule("b", *clauses)], segments=(members,)) == ("b", Reason.RULE)


def test_the_first_of_equal_variations_wins() -> None:
    """The value is passed on as it is configured, whatever the kind."""
    variations = [{"identifier": "a", "value": "011"}, {"identifier": "a", "value": "9"}]
    engine = engine_of(feature(kind="int", variations=variations))
    assert engine.evaluate("f", ALICE) == Evaluation("f", "int", "a", "011", Reason.DEFAULT)


def test_errors_say_what_is_wrong() -> None:
    """The detail names the variation that is not there, and the step that asked for it."""
    evaluation = engine_of(feature(state="off", offVariation="gone")).evaluate("f", ALICE)
    assert isinstance(evaluation, NoEvaluation)
    assert "'gone'" in evaluation.detail
    assert "off" in evaluation.detail
