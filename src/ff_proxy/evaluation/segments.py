"""Compiling segments (spec/evaluation#segments)."""

from ff_proxy.evaluation.clauses import compile_clauses
from ff_proxy.evaluation.membership import Member, MemberOfAny
from ff_proxy.evaluation.target_view import CompiledSegment
from ff_proxy.model.feature import Segment


def compile_segment(record: Segment, *, and_rules: bool) -> CompiledSegment:
    """Compile a segment; ``and_rules=False`` ignores its serving rules.

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
