"""Operators (spec/evaluation#operators)."""

import pytest

from ff_proxy.evaluation.clauses import all_hold, compile_clause, compile_clauses
from ff_proxy.evaluation.target_view import TargetView
from ff_proxy.model.feature import Clause
from ff_proxy.model.target import Target

OPERATORS = ["equal", "equal_sensitive", "starts_with", "ends_with", "contains", "in", "gt", "match"]


def _holds(op: str, attribute: object, *values: str) -> bool:
    condition = compile_clause(Clause("a", op, values))
    view = TargetView(Target("alice", "Alice", {"a": attribute}), {}, {})
    return condition is not None and all_hold((condition,), view)


@pytest.mark.parametrize(
    ("op", "attribute", "values"),
    [
        ("equal", "Straße", ("straßE",)),
        ("equal", 1.0, ("1",)),
        ("equal", True, ("TRUE",)),
        ("equal_sensitive", "Pro", ("Pro",)),
        ("starts_with", "production", ("pro",)),
        ("ends_with", "a@b.com", (".com",)),
        ("contains", "a@b.com", ("@b",)),
        ("in", "b", ("a", "b")),
        ("gt", "9", ("10",)),
        ("gt", "\U00010000", ("\uffff",)),
        ("match", "a@b.com", (r"\.com$",)),
        ("contains", ["x", "y"], ("x y",)),
        ("starts_with", "x", ("",)),
        ("ends_with", "x", ("",)),
        ("contains", "x", ("",)),
        ("gt", "x", ("",)),
        ("match", "x", ("",)),
    ],
)
def test_holds(op: str, attribute: object, values: tuple[str, ...]) -> None:
    """What each operator accepts."""
    assert _holds(op, attribute, *values)


@pytest.mark.parametrize(
    ("op", "attribute", "values"),
    [
        ("equal", "pro", ("free", "pro")),
        ("equal", "x", ("",)),
        ("equal_sensitive", "Pro", ("pro",)),
        ("equal_sensitive", "pro", ("free", "pro")),
        ("starts_with", "Production", ("pro",)),
        ("ends_with", "a@b.COM", (".com",)),
        ("contains", "A@B", ("a",)),
        ("in", "B", ("a", "b")),
        ("in", "b", ("abc",)),
        ("gt", "10", ("9",)),
        ("gt", "10", ("10",)),
        ("match", "x", ("(",)),
        ("Equal", "pro", ("pro",)),
        ("", "pro", ("pro",)),
        ("not_equal", "pro", ("free",)),
    ],
)
def test_does_not_hold(op: str, attribute: object, values: tuple[str, ...]) -> None:
    """Only the first value counts but for ``in``; unknown operators never hold."""
    assert not _holds(op, attribute, *values)


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("operand", ["", "x", ".*"])
def test_an_empty_attribute_never_matches(op: str, operand: str) -> None:
    """Absent and empty are the same, and match nothing, not even an empty operand."""
    assert not _holds(op, "", operand)


@pytest.mark.parametrize("op", [*OPERATORS, "segmentMatch"])
def test_no_values_never_match(op: str) -> None:
    """A clause without values is false, whatever its operator."""
    assert compile_clause(Clause("a", op, ())) is None


def test_one_impossible_clause_makes_all_impossible() -> None:
    """A rule with a clause that can never hold is known to be impossible when it is prepared."""
    possible = Clause("a", "equal", ("x",))
    assert compile_clauses((possible, Clause("a", "nonsense", ("x",)))) is None
    assert compile_clauses(()) == ()
