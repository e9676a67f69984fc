"""Whether a flag's prerequisites have the variations it requires (spec/evaluation#prerequisites)."""

from ff_proxy.evaluation.target_view import Fact, TargetView


class PrerequisitesFailed(Fact, frozen=True, cache_hash=True, gc=False):
    """Whether a direct or indirect prerequisite of the flag fails."""

    flag: str

    def answer(self, view: TargetView) -> bool:
        """Visit each direct and indirect prerequisite once.

        A failure fails every flag that depends on it, so the order does not matter. A flag met again, in a
        diamond or a circle, is not visited again: spec/evaluation#prerequisites counts a repetition as
        satisfied.
        """
        dependents: dict[str, str] = {}
        waiting = [self.flag]
        for flag in waiting:
            for entry in view.flags[flag].record.prerequisites:
                needed = view.flags.get(entry.feature)
                if needed is None:
                    break
                variation = needed.own(view).variation
                if variation is None:
                    break
                if variation not in entry.variations:
                    return _fail(flag, dependents, view)
                if not needed.record.prerequisites or entry.feature in dependents:
                    continue
                known = view.get(PrerequisitesFailed(entry.feature))
                if known:
                    return _fail(flag, dependents, view)
                if known is None and entry.feature != self.flag:
                    dependents[entry.feature] = flag
                    waiting.append(entry.feature)
        for flag in dependents:
            view[PrerequisitesFailed(flag)] = False
        return False


def _fail(flag: str, dependents: dict[str, str], view: TargetView) -> bool:
    """Record that ``flag`` fails, and with it every flag on the path from the root."""
    while flag in dependents:
        view[PrerequisitesFailed(flag)] = True
        flag = dependents[flag]
    return True
