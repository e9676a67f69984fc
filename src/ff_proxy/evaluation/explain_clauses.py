"""Explaining clauses and target groups in words: the value that each one tested, and whether it holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ff_proxy.evaluation.clauses import SEGMENT_MATCH, all_hold, compile_clause, member_of
from ff_proxy.evaluation.explanation import Step, StepKind, display_name
from ff_proxy.evaluation.membership import Member
from ff_proxy.evaluation.target_view import TargetView, Text
from ff_proxy.model.feature import Clause, Segment

_MAX_NAMES: Final = 8
_MAX_QUOTED: Final = 200
_MAX_DEPTH: Final = 8
SEVERAL_VALUES: Final = frozenset({"in", SEGMENT_MATCH})
# How to describe each operator when it holds, and when it does not.
OPERATOR_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "equal": ("equals", "does not equal"),
    "equal_sensitive": ("is exactly", "is not exactly"),
    "starts_with": ("starts with", "does not start with"),
    "ends_with": ("ends with", "does not end with"),
    "contains": ("contains", "does not contain"),
    "in": ("is one of", "is none of"),
    "gt": ("is greater, as text, than", "is not greater, as text, than"),
    "match": ("matches the pattern", "does not match the pattern"),
}


class ClauseExplainer:
    """Explains clauses for one target.

    ``and_rules`` must be the engine's: it decides which rules of a group apply.
    """

    def __init__(self, view: TargetView, *, and_rules: bool) -> None:
        self._view = view
        self._and_rules = and_rules
        # Groups already explained: a group that several rules name is explained once.
        self._explained: set[str] = set()

    def clause(self, clause: Clause, depth: int = 0) -> Step:
        """One clause of a rule."""
        condition = compile_clause(clause)
        holds = condition is not None and all_hold((condition,), self._view)
        if clause.op == SEGMENT_MATCH:
            return self._membership(clause.values, depth, holds=holds)
        value = self._view[Text(clause.attribute)]
        facts: dict[str, object] = {
            "attribute": clause.attribute,
            "value": value,
            "op": clause.op,
            "values": list(clause.values),
        }
        return Step(
            StepKind.CLAUSE, _clause_text(clause, value, holds, possible=bool(condition)), holds, facts
        )

    def membership(self, groups: Sequence[str], *, served: str) -> Step:
        """Whether the target is in one of ``groups``, for which ``served`` is served."""
        holds = bool(self._view[member_of(groups)[0]])
        step = self._membership(groups, 0, holds=holds)
        facts = {**step.facts, "variation": served}
        return Step(
            StepKind.TARGET_MAP,
            f"{step.text}, for variation {display_name(served)}",
            holds,
            facts,
            step.inner,
        )

    def _membership(self, groups: Sequence[str], depth: int, *, holds: bool) -> Step:
        relation = "is in one of" if holds else "is in none of"
        text = f"the target {relation} the target groups {join_names(groups)}"
        if len(groups) == 1:
            text = f"the target is {'' if holds else 'not '}in target group {quote(groups[0])}"
        inner = tuple(self._groups(groups, depth))
        return Step(StepKind.CLAUSE, text, holds, {"op": SEGMENT_MATCH, "values": list(groups)}, inner)

    def _groups(self, groups: Sequence[str], depth: int) -> Iterator[Step]:
        """In order, up to the group that decides."""
        for name in groups:
            step, decides = self._group(name, depth)
            yield step
            if decides:
                return

    def _group(self, name: str, depth: int) -> tuple[Step, bool]:
        segment = self._view.segments.get(name)
        group = f"target group {quote(name)}"
        facts = {"group": name}
        if segment is None:
            return Step(
                StepKind.GROUP, f"{group} does not exist, so the next one is tried", False, facts
            ), False
        if self._view.identifier in segment.excluded:
            return Step(
                StepKind.GROUP, f"{group} excludes the target, which ends the list", False, facts
            ), True
        if self._view.identifier in segment.included:
            return Step(StepKind.GROUP, f"{group} includes the target", True, facts), True
        holds = bool(self._view[Member(name)])
        text = f"{group} {'matches' if holds else 'does not match'} the target by its rules"
        inner: tuple[Step, ...] = ()
        if name in self._explained or depth >= _MAX_DEPTH:
            text += " (shown above)" if name in self._explained else " (not shown: it is nested too deeply)"
        else:
            self._explained.add(name)
            inner = tuple(self._rules(segment.record, depth + 1))
            text += "" if inner else ", of which it has none"
        return Step(StepKind.GROUP, text, holds, facts, inner), holds

    def _rules(self, segment: Segment, depth: int) -> Iterator[Step]:
        """In order, up to the first rule that matches."""
        if not (self._and_rules and segment.serving_rules):
            for clause in segment.rules:
                step = self.clause(clause, depth)
                yield step
                if step.holds:
                    return
            return
        for number, rule in enumerate(segment.serving_rules, 1):
            inner = tuple(self.clause(clause, depth) for clause in rule.clauses)
            holds = bool(inner) and all(step.holds for step in inner)
            text = f"rule {number} of the group {'matches' if holds else 'does not match'}"
            text += "" if inner else ": it has no clause"
            yield Step(StepKind.RULE, text, holds, {"number": number}, inner)
            if holds:
                return


def quote(text: str) -> str:
    """Quote ``text``, truncated if it is very long."""
    return repr(text) if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]!r}…"


def join_names(names: Sequence[str]) -> str:
    """Join names with commas; of many, only the first few."""
    more = len(names) - _MAX_NAMES
    return ", ".join(map(quote, names[:_MAX_NAMES])) + (f" and {more} more" if more > 0 else "")


def _clause_text(clause: Clause, value: str, holds: bool, *, possible: bool) -> str:
    attribute = display_name(clause.attribute)
    seen = f"{attribute} is {quote(value)}" if value else f"{attribute} is empty or missing"
    words = OPERATOR_WORDS.get(clause.op)
    if words is None:
        return f"{seen}: the operator {quote(clause.op)} is not known, so this never holds"
    relation = words[0] if holds else words[1]
    if clause.op in SEVERAL_VALUES:
        text = f"{seen}: {relation} {join_names(clause.values)}"
    else:
        text = f"{seen}: {relation} {quote(clause.values[0]) if clause.values else 'anything'}"
        if len(clause.values) > 1:
            text += f" (only the first of {len(clause.values)} values counts)"
    if not clause.values:
        return f"{seen}: there is no value to compare it with, so this never holds"
    return text if possible else f"{text} (this never holds)"
