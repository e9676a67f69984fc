"""An environment's engine: one flag, all flags, JSON, and making the next engine out of the last."""

import json

import pytest

from ff_proxy.evaluation import Engine, compile_engine
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from tests.support.engines import (
    ALICE,
    clause,
    engine_of,
    feature,
    flag_record,
    in_segments,
    outcome,
    rule,
    segment_record,
)

JSON_FLAG = feature("j", kind="json", variations=[{"identifier": "a", "value": '{"k":"<é>"}'}])


def _made(*flags: dict[str, object], escape_json: bool = False) -> Engine:
    return compile_engine(
        {str(doc["feature"]): flag_record(doc) for doc in flags}, {}, escape_json=escape_json
    )


def test_an_unknown_flag() -> None:
    """It is named in the answer, with its reason, in every form."""
    engine = engine_of(feature())
    for answer in (
        engine.evaluate("no", ALICE),
        engine.evaluate_json("no", ALICE),
        engine.explain("no", ALICE).outcome,
    ):
        assert isinstance(answer, NoEvaluation)
        assert (answer.flag, answer.reason) == ("no", Reason.UNKNOWN_FLAG)


def test_all_flags_in_a_stable_order() -> None:
    """By identifier, whatever the order of the configuration; failed ones included."""
    engine = engine_of(feature("b"), feature("a"), feature("c", state="off", offVariation="x"))
    answers = engine.evaluate_all(ALICE)
    assert [(answer.flag, type(answer)) for answer in answers] == [
        ("a", Evaluation),
        ("b", Evaluation),
        ("c", NoEvaluation),
    ]
    assert answers == [engine.evaluate(flag, ALICE) for flag in "abc"]


@pytest.mark.parametrize("target", [ALICE, None])
def test_json_is_exactly_four_fields(target: None) -> None:
    """Flag, kind, value and identifier, nothing else: Android refuses more."""
    engine = engine_of(feature("b"), feature("a", rules=[rule("b", clause("plan", "equal", "pro"))]))
    body, left_out = engine.evaluate_all_json(target)
    assert left_out == ()
    assert json.loads(body) == [
        {"flag": flag.flag, "kind": flag.kind, "value": flag.value, "identifier": flag.variation}
        for flag in engine.evaluate_all(target)
        if isinstance(flag, Evaluation)
    ]
    one = engine.evaluate_json("a", target)
    assert isinstance(one, bytes)
    assert json.loads(one) == json.loads(body)[0]


def test_flags_without_a_variation_are_left_out() -> None:
    """Each is named beside the array, and alone is no JSON."""
    engine = engine_of(feature("a"), feature("b", defaultServe={}), feature("c"))
    body, left_out = engine.evaluate_all_json(ALICE)
    assert [flag["flag"] for flag in json.loads(body)] == ["a", "c"]
    assert left_out == (engine.evaluate("b", ALICE),)
    assert engine.evaluate_json("b", ALICE) == left_out[0]


def test_an_empty_environment() -> None:
    """It has no evaluations, which is an array too."""
    assert engine_of().evaluate_all_json(ALICE) == (b"[]", ())


def test_json_values_plain_and_escaped() -> None:
    """Escaped, a JSON value is encoded once more, for HTML as Go does; other kinds are left alone."""
    text = feature("t", variations=[{"identifier": "a", "value": "<b>"}])
    plain, escaped = _made(JSON_FLAG, text), _made(JSON_FLAG, text, escape_json=True)
    assert [flag["value"] for flag in json.loads(plain.evaluate_all_json(ALICE)[0])] == ['{"k":"<é>"}', "<b>"]
    values = [flag["value"] for flag in json.loads(escaped.evaluate_all_json(ALICE)[0])]
    assert values == [r'"{\"k\":\"\u003cé\u003e\"}"', "<b>"]
    assert json.loads(values[0]) == '{"k":"<é>"}'
    assert plain.evaluate("j", ALICE) == escaped.evaluate("j", ALICE)


def test_the_next_engine_takes_over_what_is_the_same() -> None:
    """Equal records keep their compiled parts; changed and new ones are compiled, gone ones forgotten."""
    flags = {name: flag_record(feature(name)) for name in "abc"}
    segments = {"s": segment_record({"identifier": "s"})}
    first = compile_engine(flags, segments)
    changed = {
        "a": flag_record(feature("a")),
        "b": flag_record(feature("b", state="off")),
        "d": flag_record(feature("d")),
    }
    second = compile_engine(changed, segments, previous=first)
    assert second.flags["a"] is first.flags["a"]
    assert second.segments["s"] is first.segments["s"]
    assert outcome(second, "b") == ("c", Reason.OFF)
    assert sorted(second.flags) == ["a", "b", "d"]
    assert outcome(first, "b") == ("a", Reason.DEFAULT)


def test_a_change_reaches_flags_that_were_taken_over() -> None:
    """A flag asks for segments and other flags by name, so it need not be compiled for their sake."""
    flags = {
        "f": flag_record(feature(rules=[rule("b", in_segments("s"))])),
        "g": flag_record(feature("g", prerequisites=[{"feature": "f", "variations": ["b"]}])),
    }
    first = compile_engine(flags, {})
    members = {"s": segment_record({"identifier": "s", "included": [{"identifier": "alice"}]})}
    second = compile_engine(flags, members, previous=first)
    assert second.flags["f"] is first.flags["f"]
    assert (outcome(first), outcome(second)) == (("a", Reason.DEFAULT), ("b", Reason.RULE))
    assert (outcome(first, "g"), outcome(second, "g")) == (("c", Reason.PREREQUISITE), ("a", Reason.DEFAULT))


def test_other_options_take_nothing_over() -> None:
    """Parts that were compiled for other options would answer otherwise."""
    serving = {"priority": 1, "clauses": [clause("plan", "equal", "pro")]}
    segments = {"s": segment_record({"identifier": "s", "servingRules": [serving]})}
    flags = {"j": flag_record(JSON_FLAG), "f": flag_record(feature(rules=[rule("b", in_segments("s"))]))}
    first = compile_engine(flags, segments)
    second = compile_engine(flags, segments, and_rules=False, escape_json=True, previous=first)
    assert (outcome(first), outcome(second)) == (("b", Reason.RULE), ("a", Reason.DEFAULT))
    assert first.evaluate_json("j", ALICE) != second.evaluate_json("j", ALICE)


def test_a_flag_goes_by_the_name_the_environment_has_for_it() -> None:
    """The mapping's key counts, so that a record with another identifier is no error."""
    record = flag_record(feature("inner", prerequisites=[{"feature": "inner", "variations": ["a"]}]))
    engine = compile_engine({"outer": record}, {})
    assert engine.evaluate("outer", ALICE) == Evaluation("outer", "string", "a", "value a", Reason.DEFAULT)
    assert engine.explain("outer", ALICE).outcome == engine.evaluate("outer", ALICE)
