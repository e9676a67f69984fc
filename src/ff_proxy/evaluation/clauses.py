"""Compiled clauses: a fact about the target and a test of its value.

See spec/evaluation#operators.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ff_proxy.evaluation.attributes import fold
from ff_proxy.evaluation.membership import Member, MemberOfAny
from ff_proxy.evaluation.patterns import compile_pattern
from ff_proxy.evaluation.target_view import Condition, FoldedText, TargetView, Text, interned
from ff_proxy.model.feature import Clause, FeatureConfig

SEGMENT_MATCH: Final = "segmentMatch"
"""The operator that tests segments instead of an attribute."""


def compile_clause(clause: Clause) -> Condition | None:
    """Compile a clause; ``None`` if it can never hold (unknown operator, no values, …)."""
    if not clause.values:
        return None
    if clause.op == SEGMENT_MATCH:
        return member_of(clause.values)
    operator = _OPERATORS.get(clause.op)
    return None if operator is None else operator(interned(Text(clause.attribute)), clause.values)


def compile_clauses(clauses: Iterable[Clause]) -> tuple[Condition, ...] | None:
    """Compile clauses that must all hold; ``None`` if they never can."""
    conditions = []
    for clause in clauses:
        condition = compile_clause(clause)
        if condition is None:
            return None
        conditions.append(condition)
    return tuple(conditions)


def member_of(segments: Iterable[str]) -> Condition:
    """The condition that the target is in one of ``segments`` (spec/evaluation#segments)."""
    members = tuple(interned(Member(segment)) for segment in segments)
    return interned(members[0] if len(members) == 1 else MemberOfAny(members)), bool


def all_hold(conditions: Iterable[Condition], view: TargetView) -> bool:
    """Whether every condition holds; true for no conditions."""
    for fact, test in conditions:  # noqa: SIM110  (a generator would slow down the hot path)
        if not test(view[fact]):
            return False
    return True


def groups_matched(clauses: Iterable[Clause]) -> set[str]:
    """The target groups that clauses test."""
    return {group for clause in clauses if clause.op == SEGMENT_MATCH for group in clause.values}


def groups_named(flag: FeatureConfig) -> set[str]:
    """The target groups that a flag serves a variation to, or tests in its rules."""
    served = {group for entry in flag.variation_map for group in entry.segments}
    return served | groups_matched(clause for rule in flag.rules for clause in rule.clauses)


# Every operator's test is false for "", which means an absent attribute and must never match. Membership
# tests are the containers' own methods, which avoids a Python call.


def _equal(text: Text, values: tuple[str, ...]) -> Condition | None:
    return (interned(FoldedText(text)), frozenset((fold(values[0]),)).__contains__) if values[0] else None


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
