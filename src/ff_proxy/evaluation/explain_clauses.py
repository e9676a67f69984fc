"""Clauses and target groups in words: what each one saw of the target, and whether it holds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from ff_proxy.evaluation.clauses import SEGMENT_MATCH, all_hold, member_of, prepare
from ff_proxy.evaluation.explanation import Step, StepKind, plain
from ff_proxy.evaluation.membership import Member
from ff_proxy.evaluation.target_view import TargetView, Text
from ff_proxy.model.feature import Clause, Segment

_MOST_SHOWN: Final = 8
_LONGEST_SHOWN: Final = 200
_DEEPEST: Final = 8
_SEVERAL_VALUES: Final = frozenset({"in", SEGMENT_MATCH})
# What each operator says of an attribute if it holds, and if it does not.
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
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

    ``and_rules`` is how the engine was compiled: it decides which rules of a group count.
    """

    def __init__(self, view: TargetView, *, and_rules: bool) -> None:
        self._view = view
        self._and_rules = and_rules
        # Groups whose rules have been shown: a group that many rules name is shown once.
        self._shown: set[str] = set()

    def clause(self, clause: Clause, depth: int = 0) -> Step:
        """One clause of a rule."""
        condition = prepare(clause)
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
            StepKind.TARGET_MAP, f"{step.text}, for variation {plain(served)}", holds, facts, step.inner
        )

    def _membership(self, groups: Sequence[str], depth: int, *, holds: bool) -> Step:
        relation = "is in one of" if holds else "is in none of"
        text = f"the target {relation} the target groups {listed(groups)}"
        if len(groups) == 1:
            text = f"the target is {'' if holds else 'not '}in target group {shown(groups[0])}"
        inner = tuple(self._groups(groups, depth))
        return Step(StepKind.CLAUSE, text, holds, {"op": SEGMENT_MATCH, "values": list(groups)}, inner)

    def _groups(self, groups: Sequence[str], depth: int) -> Iterator[Step]:
        """In listed order, up to the one that decides."""
        for name in groups:
            step, decides = self._group(name, depth)
            yield step
            if decides:
                return

    def _group(self, name: str, depth: int) -> tuple[Step, bool]:
        segment = self._view.segments.get(name)
        said = f"target group {shown(name)}"
        facts = {"group": name}
        if segment is None:
            return Step(StepKind.GROUP, f"{said} does not exist, the next one is asked", False, facts), False
        if self._view.identifier in segment.excluded:
            return Step(
                StepKind.GROUP, f"{said} excludes the target, which ends the list", False, facts
            ), True
        if self._view.identifier in segment.included:
            return Step(StepKind.GROUP, f"{said} includes the target", True, facts), True
        holds = bool(self._view[Member(name)])
        text = f"{said} {'matches' if holds else 'does not match'} the target by its rules"
        inner: tuple[Step, ...] = ()
        if name in self._shown or depth >= _DEEPEST:
            text += " (shown above)" if name in self._shown else " (not shown: it is nested too deeply)"
        else:
            self._shown.add(name)
            inner = tuple(self._rules(segment.record, depth + 1))
            text += "" if inner else ", of which it has none"
        return Step(StepKind.GROUP, text, holds, facts, inner), holds

    def _rules(self, segment: Segment, depth: int) -> Iterator[Step]:
        """Up to the first that matches."""
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


def shown(text: str) -> str:
    """``text`` quoted, and cut if it is very long."""
    return repr(text) if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]!r}…"


def listed(names: Sequence[str], show: Callable[[str], str] = shown) -> str:
    """Names with commas between, the first few of many."""
    more = len(names) - _MOST_SHOWN
    return ", ".join(map(show, names[:_MOST_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _clause_text(clause: Clause, value: str, holds: bool, *, possible: bool) -> str:
    attribute = plain(clause.attribute)
    seen = f"{attribute} is {shown(value)}" if value else f"{attribute} is empty or missing"
    words = _WORDS.get(clause.op)
    if words is None:
        return f"{seen}: the operator {shown(clause.op)} is not known, so this never holds"
    relation = words[0] if holds else words[1]
    if clause.op in _SEVERAL_VALUES:
        text = f"{seen}: {relation} {listed(clause.values)}"
    else:
        text = f"{seen}: {relation} {shown(clause.values[0]) if clause.values else 'anything'}"
        if len(clause.values) > 1:
            text += f" (only the first of {len(clause.values)} values counts)"
    if not clause.values:
        return f"{seen}: there is no value to compare it with, so this never holds"
    return text if possible else f"{text} (this never holds)"
