"""Clauses prepared for asking: a fact about the target and a test of its answer.

See spec/evaluation#operators.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ff_proxy.evaluation.case_folding import fold
from ff_proxy.evaluation.membership import Member, MemberOfAny
from ff_proxy.evaluation.patterns import compile_pattern
from ff_proxy.evaluation.target_view import Fact, FoldedText, TargetView, Text, shared
from ff_proxy.model.feature import Clause

Test = Callable[[Any], object]
"""Truthy if the fact's answer is as the clause wants it."""

Condition = tuple[Fact, Test]
"""A clause, prepared."""

SEGMENT_MATCH: Final = "segmentMatch"
"""The operator that asks about segments and not about an attribute."""


def prepare(clause: Clause) -> Condition | None:
    """A clause → its condition, or ``None`` if it can never hold (unknown operator, no values, …)."""
    if not clause.values:
        return None
    if clause.op == SEGMENT_MATCH:
        return member_of(clause.values)
    operator = _OPERATORS.get(clause.op)
    return None if operator is None else operator(shared(Text(clause.attribute)), clause.values)


def prepare_all(clauses: Iterable[Clause]) -> tuple[Condition, ...] | None:
    """Clauses that must all hold → their conditions, or ``None`` if they never can."""
    conditions = []
    for clause in clauses:
        condition = prepare(clause)
        if condition is None:
            return None
        conditions.append(condition)
    return tuple(conditions)


def member_of(segments: Iterable[str]) -> Condition:
    """The condition that the target is in one of ``segments`` (spec/evaluation#segments)."""
    members = tuple(shared(Member(segment)) for segment in segments)
    return shared(members[0] if len(members) == 1 else MemberOfAny(members)), bool


def all_hold(conditions: Iterable[Condition], view: TargetView) -> bool:
    """Whether every condition holds; true of none."""
    for fact, test in conditions:  # noqa: SIM110  (a loop starts no generator: this is the hot path)
        if not test(view[fact]):
            return False
    return True


# Each operator makes a test that is false of "", which stands for an absent attribute and must not match
# anything. Tests by membership are the containers' own methods: no call from Python to Python.


def _equal(text: Text, values: tuple[str, ...]) -> Condition | None:
    return (shared(FoldedText(text)), frozenset((fold(values[0]),)).__contains__) if values[0] else None


def _equal_sensitive(text: Text, values: tuple[str, ...]) -> Condition | None:
    return _in(text, values[:1])


def _in(text: Text, values: tuple[str, ...]) -> Condition | None:
    operands = frozenset(filter(None, values))
    return (text, operands.__contains__) if operands else None


def _starts_with(text: Text, values: tuple[str, ...]) -> Condition:
    operand = values[0]
    return text, (lambda value: value.startswith(operand)) if operand else bool


def _ends_with(text: Text, values: tuple[str, ...]) -> Condition:
    operand = values[0]
    return text, (lambda value: value.endswith(operand)) if operand else bool


def _contains(text: Text, values: tuple[str, ...]) -> Condition:
    operand = values[0]
    return text, (lambda value: operand in value) if operand else bool


def _gt(text: Text, values: tuple[str, ...]) -> Condition:
    operand = values[0]
    return text, lambda value: value > operand


def _match(text: Text, values: tuple[str, ...]) -> Condition | None:
    search = compile_pattern(values[0])
    return None if search is None else (text, lambda value: value and search(value))


_OPERATORS: Final[Mapping[str, Callable[[Text, tuple[str, ...]], Condition | None]]] = {
    "equal": _equal,
    "equal_sensitive": _equal_sensitive,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "contains": _contains,
    "in": _in,
    "gt": _gt,
    "match": _match,
}
