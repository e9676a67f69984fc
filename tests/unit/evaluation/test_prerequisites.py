"""Flags that depend on flags (spec/evaluation#prerequisites)."""

from itertools import pairwise

import pytest

from ff_proxy.evaluation.target_view import TargetView
from ff_proxy.model.evaluation import Reason
from tests.support.engines import ALICE, Doc, clause, engine_of, feature, outcome, rule

MET = ("a", Reason.DEFAULT)
FAILED = ("c", Reason.PREREQUISITE)


def _needs(feature_name: str, *variations: str) -> Doc:
    return {"feature": feature_name, "variations": list(variations)}


def _asked(*prerequisites: Doc, others: tuple[Doc, ...] = (), **fields: object) -> tuple[str, Reason]:
    flag = feature(prerequisites=list(prerequisites), **fields)
    known = (feature("a"), feature("off", state="off"), feature("broken", defaultServe={"variation": "x"}))
    return outcome(engine_of(flag, *known, *others))


@pytest.mark.parametrize(
    ("prerequisites", "expected"),
    [
        ([_needs("a", "a")], MET),
        ([_needs("a", "b", "a")], MET),
        ([_needs("a", "b")], FAILED),
        ([_needs("a")], FAILED),
        ([_needs("a", "value a")], FAILED),
        ([_needs("off", "c")], MET),
        ([_needs("off", "a")], FAILED),
        ([_needs("a", "a"), _needs("a", "b")], FAILED),
        ([_needs("missing", "a")], MET),
        ([_needs("missing", "a"), _needs("a", "b")], MET),
        ([_needs("a", "b"), _needs("missing", "a")], FAILED),
        ([_needs("broken", "a")], MET),
        ([_needs("broken", "a"), _needs("a", "b")], MET),
    ],
)
def test_entries(prerequisites: list[Doc], expected: tuple[str, Reason]) -> None:
    """All must pass, by variation identifier; a missing or broken flag satisfies the whole check."""
    assert _asked(*prerequisites) == expected


def test_they_come_before_the_state() -> None:
    """An off flag whose prerequisites fail says so; both serve the off variation."""
    assert _asked(_needs("a", "b"), state="off") == FAILED
    assert _asked(_needs("a", "a"), state="off") == ("c", Reason.OFF)


def test_an_unknown_off_variation() -> None:
    """A failed check whose off variation does not exist is an error."""
    assert _asked(_needs("a", "b"), offVariation="x") == ("", Reason.UNKNOWN_VARIATION)


def test_the_target_decides() -> None:
    """A prerequisite is evaluated for the same target, its own rules included."""
    gate = feature("gate", rules=[rule("b", clause("plan", "equal", "pro"))])
    flag = feature(prerequisites=[_needs("gate", "b")])
    assert outcome(engine_of(flag, gate)) == MET
    assert outcome(engine_of(flag, gate), target=None) == FAILED


def test_inner_prerequisites() -> None:
    """A flag two steps away fails the outer one, even where the off variation would be accepted."""
    inner = feature("inner", prerequisites=[_needs("a", "b")])
    assert _asked(_needs("inner", "a", "c"), others=(inner,)) == FAILED
    assert _asked(_needs("inner", "c"), others=(inner,)) == FAILED


def test_circles_are_satisfied() -> None:
    """A flag met again on the way counts as satisfied; another failing condition still fails all."""
    one = feature("one", prerequisites=[_needs("two", "a")])
    two = feature("two", prerequisites=[_needs("one", "a")])
    both = engine_of(one, two)
    assert outcome(both, "one") == outcome(both, "two") == MET
    two_failing = feature("two", prerequisites=[_needs("one", "a"), _needs("three", "b")])
    circle = engine_of(one, two_failing, feature("three"))
    assert outcome(circle, "one") == outcome(circle, "two") == FAILED
    alone = engine_of(feature("own", prerequisites=[_needs("own", "a")]))
    assert outcome(alone, "own") == MET


@pytest.mark.parametrize("last", ["a", "b"])
def test_a_long_chain_needs_no_stack(last: str) -> None:
    """Dependencies further than any stack is deep, evaluated all at once."""
    flags = [feature(f"f{n:04}", prerequisites=[_needs(f"f{n + 1:04}", "a")]) for n in range(3000)]
    engine = engine_of(*flags, feature("f3000", prerequisites=[_needs("gate", last)]), feature("gate"))
    served = {evaluation.reason for evaluation in engine.evaluate_all(ALICE)}
    assert served == ({Reason.DEFAULT} if last == "a" else {Reason.DEFAULT, Reason.PREREQUISITE})
    assert engine.evaluate("f0000", ALICE).reason is (Reason.DEFAULT if last == "a" else Reason.PREREQUISITE)


@pytest.mark.parametrize("last", ["a", "b"])
@pytest.mark.timeout(10)
def test_diamonds_are_walked_once(last: str) -> None:
    """Layers of flags that each need all of the next layer: as many paths as nobody can walk."""
    layers = [[f"{depth}-{n}" for n in range(4)] for depth in range(60)]
    flags = [
        feature(name, prerequisites=[_needs(deeper, "a") for deeper in below])
        for layer, below in pairwise(layers)
        for name in layer
    ]
    flags += [feature(name, prerequisites=[_needs("gate", last)]) for name in layers[-1]]
    engine = engine_of(*flags, feature("gate"))
    expected = Reason.DEFAULT if last == "a" else Reason.PREREQUISITE
    assert {engine.evaluate(name, ALICE).reason for name in layers[0]} == {expected}


def test_answers_are_kept_for_the_pass() -> None:
    """A flag that was found to be met or not is not walked again for the next one that needs it."""
    flags = (
        feature("outer", prerequisites=[_needs("middle", "a")]),
        feature("middle", prerequisites=[_needs("gate", "b")]),
        feature("second", prerequisites=[_needs("middle", "a")]),
        feature("gate"),
    )
    engine = engine_of(*flags)
    view = TargetView(ALICE, engine.flags, engine.segments)
    assert engine.flags["outer"].evaluate(view).evaluation.reason is Reason.PREREQUISITE
    # From here on the gate would let everyone pass; what is known stays known.
    view.flags = engine_of(*flags[:3], feature("gate", defaultServe={"variation": "b"})).flags
    assert engine.flags["second"].evaluate(view).evaluation.reason is Reason.PREREQUISITE
