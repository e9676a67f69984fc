"""Segments, compiled (spec/evaluation#segments)."""

import msgspec

from ff_proxy.evaluation.clauses import Condition, prepare_all
from ff_proxy.evaluation.membership import Member, MemberOfAny
from ff_proxy.evaluation.target_view import Fact, TargetView
from ff_proxy.model.feature import Segment


class CompiledSegment(msgspec.Struct, frozen=True, gc=False):
    """A segment whose clauses are prepared.

    ``references`` are the segments that its own clauses name, ``lists`` the facts about several of them
    at once: neither is common, and both exist for the sake of circles.
    """

    record: Segment
    included: frozenset[str]
    excluded: frozenset[str]
    groups: tuple[tuple[Condition, ...], ...]
    references: tuple[str, ...]
    lists: tuple[Fact, ...]

    def membership(self, view: TargetView) -> bool | None:
        """Whether the target is a member: excluded (``None``) beats included beats rules."""
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
    """A segment's record → the segment compiled; ``and_rules=False`` leaves its serving rules out.

    The priority of serving rules is not looked at: whichever group matches, the target is a member.
    """
    if and_rules and record.serving_rules:
        groups = [rule.clauses for rule in record.serving_rules if rule.clauses]
    else:
        groups = [(clause,) for clause in record.rules]
    prepared = tuple(group for clauses in groups if (group := prepare_all(clauses)) is not None)
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
