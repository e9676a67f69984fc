"""The engine: one environment's compiled flags and segments."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final, TypeVar, final

from ff_proxy.evaluation.clauses import compile_clauses
from ff_proxy.evaluation.explain import explain
from ff_proxy.evaluation.explanation import Explanation
from ff_proxy.evaluation.flags import compile_flag, unknown_flag
from ff_proxy.evaluation.membership import Member, MemberOfAny
from ff_proxy.evaluation.target_view import CompiledFlag, CompiledSegment, Result, TargetView
from ff_proxy.model.evaluation import Evaluation, NoEvaluation
from ff_proxy.model.feature import FeatureConfig, Segment
from ff_proxy.model.target import Target


@final
class Engine:
    """Evaluates one state of one environment; immutable, made by ``compile_engine``.

    Every method is total: for any target, or ``None``, it returns a result or a reason.
    """

    def __init__(
        self,
        flags: Mapping[str, CompiledFlag],
        segments: Mapping[str, CompiledSegment],
        *,
        and_rules: bool,
        escape_json: bool,
    ) -> None:
        self.flags: Final = flags
        self.segments: Final = segments
        self.and_rules: Final = and_rules
        self.escape_json: Final = escape_json
        ordered = [flags[identifier] for identifier in sorted(flags)]
        self._targeted: Final = tuple(flag.targeted for flag in ordered)
        self._untargeted: Final = tuple(flag.untargeted for flag in ordered)

    @cached_property
    def target_dependent(self) -> frozenset[str]:
        """The flags whose variation may depend on the target, by themselves or by flags they depend on."""
        dependent = {name for name, flag in self.flags.items() if _looks_at_target(flag.record)}
        grown = True
        while grown:
            more = {
                name
                for name, flag in self.flags.items()
                if name not in dependent
                and any(entry.feature in dependent for entry in flag.record.prerequisites)
            }
            grown = bool(more)
            dependent |= more
        return frozenset(dependent)

    def evaluate(self, flag: str, target: Target | None) -> Evaluation | NoEvaluation:
        """One flag's variation for a target (spec/evaluation#one-flag)."""
        compiled = self.flags.get(flag)
        if compiled is None:
            return unknown_flag(flag)
        return compiled.evaluate(self._view(target)).evaluation

    def evaluate_all(self, target: Target | None) -> list[Evaluation | NoEvaluation]:
        """Every flag's variation for a target, ordered by the flags' identifiers."""
        return [result.evaluation for result in self._resolve_all(target)]

    def evaluate_json(self, flag: str, target: Target | None) -> bytes | NoEvaluation:
        """One flag's evaluation as the wire's JSON object (spec/evaluation#results)."""
        compiled = self.flags.get(flag)
        if compiled is None:
            return unknown_flag(flag)
        result = compiled.evaluate(self._view(target))
        return result.evaluation if isinstance(result.evaluation, NoEvaluation) else result.fragment

    def evaluate_all_json(self, target: Target | None) -> tuple[bytes, tuple[NoEvaluation, ...]]:
        """Every flag's evaluation as the wire's JSON array, in the order of ``evaluate_all``.

        Flags without a variation are omitted from the array and returned in the second part.
        """
        results = self._resolve_all(target)
        fragments = [result.fragment for result in results]
        if all(fragments):
            return b"[%b]" % b",".join(fragments), ()
        left_out = tuple(
            result.evaluation for result in results if isinstance(result.evaluation, NoEvaluation)
        )
        return b"[%b]" % b",".join(filter(None, fragments)), left_out

    def explain(self, flag: str, target: Target | None) -> Explanation:
        """The result of ``evaluate`` with every step that led to it."""
        return explain(flag, self._view(target), and_rules=self.and_rules)

    def _resolve_all(self, target: Target | None) -> list[Result]:
        view = self._view(target)
        return [outcome.resolve(view) for outcome in (self._targeted if target else self._untargeted)]

    def _view(self, target: Target | None) -> TargetView:
        return TargetView(target, self.flags, self.segments)


def _looks_at_target(record: FeatureConfig) -> bool:
    return record.on and bool(
        record.rules or record.variation_map or record.default_serve.distribution is not None
    )


def compile_engine(
    flags: Mapping[str, FeatureConfig],
    segments: Mapping[str, Segment],
    *,
    and_rules: bool = True,
    escape_json: bool = False,
    previous: Engine | None = None,
) -> Engine:
    """Compile an environment's records, by identifier.

    Args:
        flags: the environment's flags.
        segments: the environment's segments.
        and_rules: false ignores segments' serving rules (spec/behaviour#segment-forms).
        escape_json: encode JSON values a second time in JSON results (the option ``json-values``).
        previous: an engine whose compiled parts are reused for equal records.
    """
    previous_flags: Mapping[str, CompiledFlag] = {}
    previous_segments: Mapping[str, CompiledSegment] = {}
    if previous is not None and previous.escape_json == escape_json:
        previous_flags = previous.flags
    if previous is not None and previous.and_rules == and_rules:
        previous_segments = previous.segments
    return Engine(
        _compile(
            flags, previous_flags, lambda name, record: compile_flag(name, record, escape_json=escape_json)
        ),
        _compile(
            segments, previous_segments, lambda _, record: _compile_segment(record, and_rules=and_rules)
        ),
        and_rules=and_rules,
        escape_json=escape_json,
    )


def _compile_segment(record: Segment, *, and_rules: bool) -> CompiledSegment:
    """Compile a segment (spec/evaluation#segments); ``and_rules=False`` ignores its serving rules.

    The priority of serving rules is irrelevant: a match of any rule makes the target a member.
    """
    if and_rules and record.serving_rules:
        groups = [rule.clauses for rule in record.serving_rules if rule.clauses]
    else:
        groups = [(clause,) for clause in record.rules]
    prepared = tuple(group for clauses in groups if (group := compile_clauses(clauses)) is not None)
    facts = [fact for group in prepared for fact, _ in group]
    lists = tuple(fact for fact in facts if isinstance(fact, MemberOfAny))
    members = [fact for fact in facts if isinstance(fact, Member)]
    members += [member for fact in lists for member in fact.members]
    return CompiledSegment(
        record=record,
        included=record.included,
        excluded=record.excluded,
        groups=prepared,
        references=tuple(dict.fromkeys(member.segment for member in members)),
        lists=lists,
    )


_Record = TypeVar("_Record")
_Compiled = TypeVar("_Compiled", CompiledFlag, CompiledSegment)


def _compile(
    records: Mapping[str, _Record],
    previous: Mapping[str, _Compiled],
    compile_one: Callable[[str, _Record], _Compiled],
) -> dict[str, _Compiled]:
    return {
        name: part
        if (part := previous.get(name)) is not None and (part.record is record or part.record == record)
        else compile_one(name, record)
        for name, record in records.items()
    }
