"""Compiling segments (spec/evaluation#segments)."""

import msgspec

from ff_proxy.evaluation.clauses import Condition, compile_clauses
from ff_proxy.evaluation.membership import Member, MemberOfAny
from ff_proxy.evaluation.target_view import Fact, TargetView
from ff_proxy.model.feature import Segment


class CompiledSegment(msgspec.Struct, frozen=True, gc=False):
    """A compiled segment.

    ``references`` are the segments that its clauses name; ``lists`` are the facts about several segments at
    once. Both are rare, and are needed to resolve circular references.
    """

    record: Segment
    included: frozenset[str]
    excluded: frozenset[str]
    groups: tuple[tuple[Condition, ...], ...]
    references: tuple[str, ...]
    lists: tuple[Fact, ...]

    def membership(self, view: TargetView) -> bool | None:
        """Whether the target is a member: excluded (``None``) overrides included, which overrides rules."""
        if view.identifier in self.excluded:
            return None
        if view.identifier in self.included:
            return True
        for group in self.groups:
            for fact, test in group:
                if not test(view[fact]):
                    break
            else:
                return True
        return False


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
