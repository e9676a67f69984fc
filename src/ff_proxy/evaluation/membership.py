"""Membership of a target in a segment, or in a list of them (spec/evaluation#segments)."""

from ff_proxy.evaluation.target_view import Fact, TargetView


class Member(Fact, frozen=True, cache_hash=True, gc=False):
    """Whether the target is in the segment: included or matched by its rules, and not excluded."""

    segment: str

    def answer(self, view: TargetView) -> bool | None:
        """False for an unknown segment; ``None`` if the segment excludes the target."""
        segment = view.segments.get(self.segment)
        if segment is None:
            return False
        if segment.references:
            _resolve(self.segment, view)
            resolved: bool | None = view[self]
            return resolved
        return segment.membership(view)


class MemberOfAny(Fact, frozen=True, cache_hash=True, gc=False):
    """Whether the target is in one of several segments and no earlier one excludes it."""

    members: tuple[Member, ...]

    def answer(self, view: TargetView) -> bool:
        """In order: an exclusion ends the list, an unknown segment does not."""
        for member in self.members:
            membership = view[member]
            if membership:
                return True
            if membership is None:
                return False
        return False


def _resolve(root: str, view: TargetView) -> None:
    """Compute ``Member`` for every segment that ``root`` refers to, directly or indirectly.

    Start with exclusions only, which depend on no other segment, and evaluate until no answer changes. For
    circular references this equals the guard of spec/evaluation#segments: a segment already on the path does
    not match. Long chains need no deep stack, and there are at most as many rounds as segments.
    """
    reached = {root: view.segments[root]}
    waiting = [root]
    for name in waiting:
        for reference in reached[name].references:
            if reference in view.segments and reference not in reached:
                reached[reference] = view.segments[reference]
                waiting.append(reference)
    open_members = [
        (member, reached[name]) for name in reversed(waiting) if (member := Member(name)) not in view
    ]
    for member, segment in open_members:
        view[member] = None if view.identifier in segment.excluded else False
    resolved = False
    while not resolved:
        resolved = True
        for member, segment in open_members:
            for asked in segment.lists:
                view.pop(asked, None)
            if view[member] is False:
                view[member] = segment.membership(view)
                resolved = resolved and not view[member]
