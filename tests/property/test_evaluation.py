"""What holds for every configuration and every target, however odd."""

import json
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from ff_proxy.evaluation import Engine, StepKind, compile_engine, render
from ff_proxy.evaluation.attributes import fold
from ff_proxy.evaluation.bucketing import bucket_of, share_of, thresholds
from ff_proxy.evaluation.clauses import SEGMENT_MATCH, all_hold, compile_clause
from ff_proxy.evaluation.target_view import TargetView
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.feature import Clause, FeatureConfig, Segment
from ff_proxy.model.target import Target
from ff_proxy.wire.config import read_feature, read_segment, read_target
from ff_proxy.wire.evaluation import encode_evaluation
from tests.support.engines import flag_record, segment_record

Doc = dict[str, Any]

# Names are few, so that references meet; any text, lone surrogates included, comes in as well.
_NAMES = st.sampled_from(["", "a", "b", "c", "d"])
_ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


def _docs(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Doc]:
    return st.fixed_dictionaries({}, optional=fields)


def _several(entry: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(entry, max_size=3)


def _environment_docs(junk: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[list[Doc], list[Doc]]]:
    """Flags and segments that refer to each other; ``junk`` may stand in any field."""
    text = _NAMES | junk
    operators = ["equal", "equal_sensitive", "starts_with", "ends_with", "contains", "in", "gt", "match"]
    plain = _docs(
        attribute=st.sampled_from(["identifier", "name", "x"]) | junk,
        op=st.sampled_from(operators) | junk,
        values=_several(text) | junk,
    )
    clause = plain | _docs(op=st.just(SEGMENT_MATCH), values=_several(text) | junk)
    weights = st.integers(-20, 120) | junk
    share = _docs(variation=text, weight=weights)
    serve = _docs(variation=text, distribution=_docs(bucketBy=text, variations=_several(share) | junk) | junk)
    members = _several(_docs(identifier=text) | junk) | junk
    group = _docs(priority=st.integers(0, 3), clauses=_several(clause) | junk)
    segment = _docs(
        included=members,
        excluded=members,
        rules=_several(clause | junk) | junk,
        servingRules=_several(group | junk) | junk,
    )
    flag = _docs(
        state=st.just("on") | text,
        kind=st.sampled_from(["string", "json"]) | junk,
        variations=st.just([{"identifier": name, "value": f"<{name}>"} for name in "abc"])
        | _several(_docs(identifier=text, value=text)),
        offVariation=text,
        defaultServe=serve | junk,
        rules=_several(_docs(priority=weights, clauses=_several(clause) | junk, serve=serve | junk)) | junk,
        variationToTargetMap=_several(
            _docs(variation=text, targets=members, targetSegments=_several(text) | junk)
        )
        | junk,
        prerequisites=_several(_docs(feature=text, variations=_several(text) | junk)) | junk,
    )
    flags = st.dictionaries(_NAMES, flag, max_size=5).map(
        lambda held: [doc | {"feature": name} for name, doc in held.items()]
    )
    segments = st.dictionaries(_NAMES, segment, max_size=5).map(
        lambda held: [doc | {"identifier": name} for name, doc in held.items()]
    )
    return st.tuples(flags, segments)


_SANE = _environment_docs(st.nothing())
_ODD = _environment_docs(_JSON)
_TARGETS = st.none() | st.builds(
    Target, _NAMES, _NAMES, st.dictionaries(st.sampled_from(["x", "a", "name"]), _JSON | _NAMES, max_size=3)
)


def _engine(docs: tuple[list[Doc], list[Doc]], previous: Engine | None = None, **options: bool) -> Engine:
    flags, segments = docs
    return compile_engine(
        {doc["feature"]: flag_record(doc) for doc in flags},
        {doc["identifier"]: segment_record(doc) for doc in segments},
        previous=previous,
        **options,
    )


@given(_JSON)
def test_reading_is_total(doc: object) -> None:
    """Any JSON value reads as a flag, a segment and a target, all of which can be written as UTF-8."""
    for record in (flag_record(doc), segment_record(doc), read_target(doc)):
        if not isinstance(record, Target):
            msgspec.json.encode(record)


@given(st.binary())
@example(b"[" * 100_000)
@example(b'{"feature":"f","variations":' + b"[" * 100_000)
def test_reading_stored_bytes_is_total(wire: bytes) -> None:
    """A store may be damaged, or hold what something else has written."""
    assert isinstance(read_feature(wire), FeatureConfig)
    assert isinstance(read_segment(wire), Segment)


@given(_ODD, _TARGETS, st.booleans(), st.booleans())
def test_evaluation_is_total(
    docs: tuple[list[Doc], list[Doc]], target: Target | None, and_rules: bool, escape_json: bool
) -> None:
    """Every flag has a result or a reason, in every form, and the forms agree."""
    engine = _engine(docs, and_rules=and_rules, escape_json=escape_json)
    answers = engine.evaluate_all(target)
    assert [answer.flag for answer in answers] == sorted(engine.flags)
    assert answers == [engine.evaluate(flag, target) for flag in sorted(engine.flags)]
    body, left_out = engine.evaluate_all_json(target)
    served = [answer for answer in answers if isinstance(answer, Evaluation)]
    assert left_out == tuple(answer for answer in answers if isinstance(answer, NoEvaluation))
    fragments = [encode_evaluation(answer, escape_json=escape_json) for answer in served]
    assert body == b"[%b]" % b",".join(fragments)
    assert fragments == [engine.evaluate_json(answer.flag, target) for answer in served]
    assert [entry["flag"] for entry in msgspec.json.decode(body)] == [answer.flag for answer in served]


@given(_ODD | _SANE, _TARGETS, st.booleans())
def test_explanations_agree(
    docs: tuple[list[Doc], list[Doc]], target: Target | None, and_rules: bool
) -> None:
    """The walk along the specification and the compiled engine come to the same end."""
    engine = _engine(docs, and_rules=and_rules)
    for flag in [*engine.flags, "unknown"]:
        explanation = engine.explain(flag, target)
        assert explanation.outcome == engine.evaluate(flag, target)
        assert render(explanation).splitlines()[-1].startswith("=> ")
        json.dumps(msgspec.to_builtins(explanation), allow_nan=False)
        for step in explanation.steps:
            if step.kind is StepKind.RULE:
                asked = [inner.holds for inner in step.inner if inner.kind is StepKind.CLAUSE]
                assert step.holds == all(asked)


@given(st.lists(_SANE, min_size=2, max_size=3), st.lists(_TARGETS, min_size=1, max_size=2))
def test_compiling_on_top_is_compiling_anew(
    states: list[tuple[list[Doc], list[Doc]]], targets: list[Target | None]
) -> None:
    """An engine made out of the one before it answers like one made of nothing."""
    engine = None
    for docs in states:
        engine, anew = _engine(docs, previous=engine), _engine(docs)
        for target in targets:
            assert engine.evaluate_all_json(target) == anew.evaluate_all_json(target)


_FEW = st.sampled_from("abcd")
_HOLDS = st.sampled_from([{"attribute": "name", "op": "equal", "values": [name]} for name in ("me", "you")])
_ASKS = st.lists(_FEW, min_size=1, max_size=3).map(lambda names: {"op": SEGMENT_MATCH, "values": names})
_WEB_OF_SEGMENTS = st.dictionaries(
    _FEW,
    st.fixed_dictionaries(
        {"rules": _several(_ASKS | _HOLDS)},
        optional={
            "excluded": st.just([{"identifier": "me"}]),
            "servingRules": _several(st.fixed_dictionaries({"clauses": _several(_ASKS | _HOLDS)})),
        },
    ),
)
_WEB_OF_FLAGS = st.dictionaries(
    _FEW,
    st.fixed_dictionaries(
        {
            "prerequisites": _several(
                st.fixed_dictionaries(
                    {
                        "feature": st.sampled_from("abcde"),
                        "variations": st.sampled_from([["on"], ["on"], ["on"], ["off"]]),
                    }
                )
            ),
            "defaultServe": st.sampled_from([{"variation": "on"}] * 4 + [{}]),
        }
    ),
)
_ME = Target("me", "me")


@given(_WEB_OF_FLAGS)
def test_prerequisites_follow_the_recursion(web: dict[str, Doc]) -> None:
    """The walk answers what a recursion guarded by the path answers (spec/evaluation#prerequisites)."""
    variations = [{"identifier": name, "value": name} for name in ("on", "off")]
    common = {"state": "on", "variations": variations, "offVariation": "off"}
    engine = _engine(([common | doc | {"feature": name} for name, doc in web.items()], []))
    for answer in engine.evaluate_all(_ME):
        assert (answer.reason is not Reason.PREREQUISITE) == _prerequisites_hold(
            engine, answer.flag, frozenset()
        )
        assert answer == engine.evaluate(answer.flag, _ME)


def _prerequisites_hold(engine: Engine, flag: str, path: frozenset[str]) -> bool:
    if flag in path:
        return True
    for entry in engine.flags[flag].record.prerequisites:
        if entry.feature not in engine.flags:
            return True
        variation = engine.flags[entry.feature].own(TargetView(_ME, engine.flags, {})).variation
        if variation is None:
            return True
        if variation not in entry.variations:
            return False
        if not _prerequisites_hold(engine, entry.feature, path | {flag}):
            return False
    return True


@given(_WEB_OF_SEGMENTS, st.permutations("abcd"))
def test_segments_follow_the_recursion(web: dict[str, Doc], order: list[str]) -> None:
    """Membership is what the recursion of spec/evaluation#segments answers, guarded by the current path.

    Whatever else was asked before in the same pass.
    """
    engine = _engine(([], [doc | {"identifier": name} for name, doc in web.items()]))
    view = TargetView(_ME, {}, engine.segments)
    for listed in [*((name,) for name in order), tuple(order)]:
        condition = compile_clause(Clause("", SEGMENT_MATCH, listed))
        assert condition is not None
        assert all_hold((condition,), view) == _matches_any(engine, listed, frozenset())


def _matches_any(engine: Engine, listed: tuple[str, ...], path: frozenset[str]) -> bool:
    for name in listed:
        if name not in engine.segments or name in path:
            continue
        segment = engine.segments[name].record
        if _ME.identifier in segment.excluded:
            return False
        if segment.serving_rules:
            groups = [rule.clauses for rule in segment.serving_rules]
        else:
            groups = [(clause,) for clause in segment.rules]
        inside = path | {name}
        if any(group and all(_clause_holds(engine, clause, inside) for clause in group) for group in groups):
            return True
    return False


def _clause_holds(engine: Engine, clause: Clause, path: frozenset[str]) -> bool:
    if clause.op == SEGMENT_MATCH:
        return _matches_any(engine, clause.values, path)
    return clause.values == (_ME.name,)


@given(_ANY_TEXT, _ANY_TEXT)
def test_buckets_are_within_bounds(bucket_by: str, value: str) -> None:
    """1 to 100, for any text."""
    assert 1 <= bucket_of(bucket_by, value) <= 100


@given(st.lists(st.integers(-50, 150), min_size=1, max_size=6), st.integers(1, 100))
def test_shares_follow_the_running_total(weights: list[int], bucket: int) -> None:
    """The search answers what adding up in order answers."""
    total = 0
    expected = len(weights) - 1
    for index, weight in enumerate(weights):
        total += weight
        if total >= bucket:
            expected = index
            break
    assert share_of(thresholds(weights), bucket) == expected


def test_shares_are_as_large_as_their_weights() -> None:
    """Over many targets, each share is within one percent point of its weight."""
    weights = {"a": 10, "b": 25, "c": 65}
    counted = dict.fromkeys(weights, 0)
    for number in range(20_000):
        index = share_of(thresholds(weights.values()), bucket_of("identifier", f"target-{number}"))
        counted[list(weights)[index]] += 1
    for name, weight in weights.items():
        assert abs(counted[name] / 200 - weight) < 1


@given(_ANY_TEXT, _ANY_TEXT)
def test_folding_goes_by_character(one: str, other: str) -> None:
    """Lengths stay, and what is joined folds as its parts do."""
    assert len(fold(one)) == len(one)
    assert fold(one + other) == fold(one) + fold(other)
    assert fold(fold(one)) == fold(one)
