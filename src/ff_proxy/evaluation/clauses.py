"""Clauses prepared for asking: a fact about the target and a test of its answer (evaluation.md §3)."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from ff_proxy.evaluation.folding import fold
from ff_proxy.evaluation.membership import Member, MemberOfAny
from ff_proxy.evaluation.patterns import compile_pattern
from ff_proxy.evaluation.view import Fact, FoldedText, Text, View
from ff_proxy.model.feature import Clause

Test = Callable[[Any], object]
"""Truthy if the fact's answer is as the clause wants it."""

Condition = tuple[Fact, Test]
"""A clause, prepared."""


SEGMENT_MATCH: Final = "segmentMatch"
"""The operator that asks about segments and not about an attribute."""


def prepare(clause: Clause) -> Condition | None:
    """A clause → its condition, or ``None`` if it can never hold (unknown operator, no values, …).

    An absent attribute reads ``""`` and must not match anything; each test below is false for it by
    itself, or says so.
    """
    if not clause.values:
        return None
    if clause.op == SEGMENT_MATCH:
        return member_of(clause.values)
    text = Text(clause.attribute)
    operand = clause.values[0]
    match clause.op:
        case "equal" if operand:
            return FoldedText(text), frozenset((fold(operand),)).__contains__
        case "equal_sensitive" if operand:
            return text, frozenset((operand,)).__contains__
        case "in" if named := frozenset(filter(None, clause.values)):
            return text, named.__contains__
        case "starts_with" | "ends_with" | "contains" if not operand:
            return text, bool
        case "starts_with":
            return text, lambda value: value.startswith(operand)
        case "ends_with":
            return text, lambda value: value.endswith(operand)
        case "contains":
            return text, lambda value: operand in value
        case "gt":
            return text, lambda value: value > operand
        case "match" if search := compile_pattern(operand):
            return text, lambda value: value and search(value)
    return None


def member_of(segments: Iterable[str]) -> Condition:
    """The condition that the target is in one of ``segments`` (evaluation.md §8)."""
    members = tuple(map(Member, segments))
    return (members[0] if len(members) == 1 else MemberOfAny(members)), bool


def prepare_all(clauses: Iterable[Clause]) -> tuple[Condition, ...] | None:
    """Clauses that must all hold → their conditions, or ``None`` if they never can."""
    conditions = []
    for clause in clauses:
        condition = prepare(clause)
        if condition is None:
            return None
        conditions.append(condition)
    return tuple(conditions)


def all_hold(conditions: Iterable[Condition], view: View) -> bool:
    """Whether every condition holds; true of none."""
    for fact, test in conditions:
        if not test(view[fact]):
            return False
    return True
