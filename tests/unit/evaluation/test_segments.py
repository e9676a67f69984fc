"""Membership of segments (spec/evaluation#segments)."""

from itertools import pairwise

import pytest

from ff_proxy.evaluation.target_view import TargetView
from ff_proxy.model.evaluation import Reason
from ff_proxy.model.target import Target
from tests.support.engines import ALICE, Doc, clause, engine_of, feature, in_segments, outcome, rule

IN = ("b", Reason.RULE)
OUT = ("a", Reason.DEFAULT)
PRO = clause("plan", "equal", "pro")
FREE = clause("plan", "equal", "free")


def _named(*identifiers: str) -> list[Doc]:
    return [{"identifier": identifier} for identifier in identifiers]


def _group(identifier: str, **fields: object) -> Doc:
    return {"identifier": identifier, **fields}


def _asked(listed: tuple[str, ...], *segments: Doc, and_rules: bool = True) -> tuple[str, Reason]:
    flag = feature(rules=[rule("b", in_segments(*listed))])
    return outcome(engine_of(flag, segments=segments, and_rules=and_rules))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, OUT),
        ({"included": _named("alice")}, IN),
        ({"included": _named("Alice")}, OUT),
        ({"included": _named("alice"), "excluded": _named("alice")}, OUT),
        ({"excluded": _named("alice"), "rules": [PRO]}, OUT),
        ({"rules": [FREE, PRO]}, IN),
        ({"rules": [FREE]}, OUT),
        ({"servingRules": [{"clauses": [PRO, FREE]}]}, OUT),
        ({"servingRules": [{"clauses": [FREE]}, {"clauses": [PRO]}]}, IN),
        ({"servingRules": [{"clauses": []}]}, OUT),
        ({"servingRules": [{"clauses": [FREE]}], "rules": [PRO]}, OUT),
        ({"servingRules": [{"clauses": [clause("plan", "nonsense", "pro")]}]}, OUT),
        ({"servingRules": [], "rules": [PRO]}, IN),
    ],
)
def test_one_segment(fields: Doc, expected: tuple[str, Reason]) -> None:
    """Excluded, included, serving rules (all of a group), legacy rules (any): in this order."""
    assert _asked(("s",), _group("s", **fields)) == expected


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (("unknown",), OUT),
        (("unknown", "has"), IN),
        (("not", "has"), IN),
        (("never", "has"), OUT),
        (("has", "never"), IN),
        (("not", "never", "has"), OUT),
        (("not", "unknown"), OUT),
    ],
)
def test_a_list_of_segments(listed: tuple[str, ...], expected: tuple[str, Reason]) -> None:
    """Any of them, but an exclusion ends the list and an unknown segment does not."""
    segments = (
        _group("has", included=_named("alice")),
        _group("not"),
        _group("never", excluded=_named("alice")),
    )
    assert _asked(listed, *segments) == expected


def test_without_and_rules_legacy_rules_decide() -> None:
    """``and-rules=false`` leaves serving rules out (spec/behaviour#segment-forms)."""
    segment = _group("s", servingRules=[{"clauses": [PRO]}], rules=[FREE])
    assert _asked(("s",), segment) == IN
    assert _asked(("s",), segment, and_rules=False) == OUT


def test_a_segment_of_segments() -> None:
    """A segment's clause may ask for other segments, in both forms of rules."""
    inner = _group("inner", included=_named("alice"))
    assert _asked(("outer",), inner, _group("outer", rules=[in_segments("inner")])) == IN
    assert (
        _asked(("outer",), inner, _group("outer", servingRules=[{"clauses": [PRO, in_segments("inner")]}]))
        == IN
    )
    assert (
        _asked(("outer",), inner, _group("outer", servingRules=[{"clauses": [FREE, in_segments("inner")]}]))
        == OUT
    )


@pytest.mark.parametrize("and_rules", [True, False])
def test_circles(and_rules: bool) -> None:
    """A segment that asks for itself, alone or through others, is matched by its other clauses only."""
    alone = _group("s", rules=[in_segments("s")])
    assert _asked(("s",), alone, and_rules=and_rules) == OUT
    assert _asked(("s",), _group("s", rules=[in_segments("s"), PRO]), and_rules=and_rules) == IN
    one, two = _group("one", rules=[in_segments("two")]), _group("two", rules=[in_segments("one")])
    assert _asked(("one", "two"), one, two) == OUT
    two_pro = _group("two", rules=[in_segments("one"), PRO])
    assert _asked(("one",), one, two_pro) == IN
    assert _asked(("two",), one, two_pro) == IN


def test_an_exclusion_ends_lists_of_segments_settled_before_it() -> None:
    """Exclusions are known before anything else, in whatever order segments of segments are settled."""
    segments = (
        _group("root", rules=[in_segments("never"), in_segments("list")]),
        _group("never", excluded=_named("alice")),
        _group("list", rules=[in_segments("never", "has")]),
        _group("has", included=_named("alice")),
    )
    assert _asked(("root",), *segments) == OUT


def test_a_list_is_asked_again_until_all_is_settled() -> None:
    """What a list answered before its segments were settled is not kept."""
    segments = (
        _group(
            "root",
            servingRules=[{"clauses": [FREE, in_segments("late")]}, {"clauses": [in_segments("list")]}],
        ),
        _group("late", rules=[PRO]),
        _group("list", rules=[in_segments("late", "nobody")]),
        _group("nobody"),
    )
    assert _asked(("root",), *segments) == IN


@pytest.mark.parametrize("order", [1, -1])
def test_a_long_chain_needs_no_stack(order: int) -> None:
    """Segments of segments, further than any stack is deep."""
    names = [f"s{number}" for number in range(3000)]
    chain = [_group(name, rules=[in_segments(after)]) for name, after in pairwise(names)]
    segments = (*chain[::order], _group(names[-1], included=_named("alice")))
    assert _asked((names[0],), *segments) == IN


def test_membership_is_asked_once() -> None:
    """A segment that many flags ask for is worked out once in a pass."""
    engine = engine_of(
        *(feature(f"f{number}", rules=[rule("b", in_segments("s"))]) for number in range(3)),
        segments=(_group("s", rules=[PRO]),),
    )
    view = TargetView(ALICE, engine.flags, engine.segments)
    first = engine.flags["f0"].evaluate(view)
    view.segments = {}  # nobody can ask again
    assert first.variation == engine.flags["f1"].evaluate(view).variation == "b"


def test_names_of_members_are_not_looked_at() -> None:
    """Only identifiers make members."""
    flag = feature(rules=[rule("b", in_segments("s"))])
    segment = _group("s", included=[{"identifier": "bob", "name": "alice"}])
    assert outcome(engine_of(flag, segments=(segment,)), target=Target("alice", "bob")) == OUT
