"""Is the target in a segment, or in a list of them? (spec/evaluation#segments)."""

from ff_proxy.evaluation.target_view import Fact, TargetView


class Member(Fact, frozen=True, cache_hash=True, gc=False):
    """The target is in the segment: included, or matched by its rules, and not excluded."""

    segment: str

    def answer(self, view: TargetView) -> bool | None:
        """False for a segment that nobody knows; ``None`` if the segment excludes the target."""
        segment = view.segments.get(self.segment)
        if segment is None:
            return False
        if segment.references:
            _settle(self.segment, view)
            settled: bool | None = view[self]
            return settled
        return segment.membership(view)


class MemberOfAny(Fact, frozen=True, cache_hash=True, gc=False):
    """The target is in one of several segments, unless an earlier one excludes it."""

    members: tuple[Member, ...]

    def answer(self, view: TargetView) -> bool:
        """In listed order: an exclusion ends the list at once, an unknown segment does not."""
        for member in self.members:
            membership = view[member]
            if membership:
                return True
            if membership is None:
                return False
        return False


def _settle(root: str, view: TargetView) -> None:
    """Answer ``Member`` of every segment that ``root`` reaches through segments that refer to others.

    But for exclusions, which rest on nothing else, the target is a member of none at first; segments are
    asked until no answer changes. Where references form a circle this gives what spec/evaluation#segments
    wants of a guard: a segment already on the path does not match. Long chains need no deep stack, and there
    are at most as many rounds as segments.
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
    settled = False
    while not settled:
        settled = True
        for member, segment in open_members:
            for asked in segment.lists:
                view.pop(asked, None)
            if view[member] is False:
                view[member] = segment.membership(view)
                settled = settled and not view[member]
