"""Do the flags that a flag depends on have the variations it asks for? (spec/evaluation#prerequisites)."""

from ff_proxy.evaluation.target_view import Fact, TargetView


class Unmet(Fact, frozen=True, cache_hash=True, gc=False):
    """Some prerequisite of the flag, or of a flag it depends on however far, fails."""

    flag: str

    def answer(self, view: TargetView) -> bool:
        """Walk everything the flag depends on, each flag once.

        One failure anywhere fails all that depend on it, so the order of the walk does not matter and a
        flag met again, in a diamond or a circle, is simply not walked again: that is the satisfied
        repetition which spec/evaluation#prerequisites asks for.
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
                known = view.get(Unmet(entry.feature))
                if known:
                    return _fail(flag, dependents, view)
                if known is None and entry.feature != self.flag:
                    dependents[entry.feature] = flag
                    waiting.append(entry.feature)
        for flag in dependents:
            view[Unmet(flag)] = False
        return False


def _fail(flag: str, dependents: dict[str, str], view: TargetView) -> bool:
    """Remember that ``flag`` fails, and with it everything on the way from the root of the walk to it."""
    while flag in dependents:
        view[Unmet(flag)] = True
        flag = dependents[flag]
    return True
