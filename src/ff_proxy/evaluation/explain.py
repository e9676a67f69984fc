"""Why a target gets a variation: every step of spec/evaluation in order, for ``explain``.

This walks a flag's record as the specification describes it, not the compiled steps, so it also checks the
engine: a property test compares their outcomes. It shares only facts, conditions and buckets with the engine.
"""

from ff_proxy.evaluation.bucketing import NO_BUCKET, share_of, thresholds
from ff_proxy.evaluation.explain_clauses import ClauseExplainer, join_names, quote
from ff_proxy.evaluation.explanation import Explanation, Step, StepKind, display_name
from ff_proxy.evaluation.flags import make_evaluation, unknown_flag
from ff_proxy.evaluation.target_view import Bucket, TargetView
from ff_proxy.model.evaluation import NoEvaluation, Reason
from ff_proxy.model.feature import Distribution, FeatureConfig, Prerequisite, Serve, ServingRule, VariationMap

_Choice = tuple[str, Reason]


def explain(flag: str, view: TargetView, *, and_rules: bool = True) -> Explanation:
    """The steps of ``flag`` for the view's target; ``and_rules`` is how its engine was compiled."""
    compiled = view.flags.get(flag)
    if compiled is None:
        return Explanation(unknown_flag(flag), ())
    return _Walk(view, ClauseExplainer(view, and_rules=and_rules)).explain(flag, compiled.record)


class _Walk:
    def __init__(self, view: TargetView, clauses: ClauseExplainer) -> None:
        self._view = view
        self._clauses = clauses

    def explain(self, flag: str, record: FeatureConfig) -> Explanation:
        steps: list[Step] = []
        if self._prerequisites_met(flag, steps):
            variation, reason = self._own(record, steps)
        else:
            steps.append(
                Step(
                    StepKind.DEFAULT,
                    f"a prerequisite is not met: the off variation is served, {_named(record.off_variation)}",
                    facts={"variation": record.off_variation},
                )
            )
            variation, reason = record.off_variation, Reason.PREREQUISITE
        return Explanation(make_evaluation(flag, record, variation, reason), tuple(steps))

    def _prerequisites_met(self, root: str, steps: list[Step]) -> bool:
        """Visit every direct and indirect prerequisite of ``root`` once (spec/evaluation#prerequisites)."""
        seen = [root]
        for flag in seen:
            for entry in self._view.flags[flag].record.prerequisites:
                step, settles = self._prerequisite(flag, entry)
                steps.append(step)
                if not step.holds:
                    return False
                if settles:
                    break
                if entry.feature not in seen:
                    seen.append(entry.feature)
        return True

    def _prerequisite(self, flag: str, entry: Prerequisite) -> tuple[Step, bool]:
        """One prerequisite, and whether it decides all of the flag's others."""
        text = f"prerequisite {quote(entry.feature)} of {quote(flag)}"
        facts: dict[str, object] = {"of": flag, "flag": entry.feature, "wanted": list(entry.variations)}
        needed = self._view.flags.get(entry.feature)
        if needed is None:
            text = f"{text}: there is no such flag, {quote(flag)} counts as satisfied"
            return Step(StepKind.PREREQUISITE, text, True, facts), True
        inner: list[Step] = []
        outcome = make_evaluation(entry.feature, needed.record, *self._own(needed.record, inner))
        if isinstance(outcome, NoEvaluation):
            text = f"{text}: it has no variation ({outcome.detail}), {quote(flag)} counts as satisfied"
            return Step(StepKind.PREREQUISITE, text, True, facts, tuple(inner)), True
        met = outcome.variation in entry.variations
        facts["variation"] = outcome.variation
        relation = (
            "as required" if met else f"required is {join_names(entry.variations) or 'no existing variation'}"
        )
        text = f"{text}: it has {quote(outcome.variation)}, {relation}"
        return Step(StepKind.PREREQUISITE, text, met, facts, tuple(inner)), False

    def _own(self, record: FeatureConfig, steps: list[Step]) -> _Choice:
        """A flag's own variation, ignoring its prerequisites; empty if no step names one."""
        text = f"flag {quote(record.identifier)} is {'on' if record.on else 'off'}"
        if not record.on:
            text += f": the off variation is served, {_named(record.off_variation)}"
        steps.append(Step(StepKind.STATE, text, record.on, {"flag": record.identifier}))
        if not record.on:
            return record.off_variation, Reason.OFF
        found: _Choice | None = None
        if self._view.targeted:
            found = self._from_map(record.variation_map, steps) or self._from_rules(record.rules, steps)
        else:
            steps.append(Step(StepKind.TARGET, "there is no target: target map and rules are skipped"))
        return found or self._from_default(record.default_serve, steps)

    def _from_map(self, entries: tuple[VariationMap, ...], steps: list[Step]) -> _Choice | None:
        for entry in entries:
            named = bool(self._view.identifier) and self._view.identifier in entry.targets
            text = (
                f"the target is {'' if named else 'not '}named for variation {display_name(entry.variation)}"
            )
            steps.append(Step(StepKind.TARGET_MAP, text, named, {"variation": entry.variation}))
            if named:
                return (entry.variation, Reason.TARGET_MAP) if entry.variation else None
            if entry.segments:
                step = self._clauses.membership(entry.segments, served=entry.variation)
                steps.append(step)
                if step.holds:
                    return (entry.variation, Reason.SEGMENT_MAP) if entry.variation else None
        return None

    def _from_rules(self, rules: tuple[ServingRule, ...], steps: list[Step]) -> _Choice | None:
        for number, rule in enumerate(sorted(rules, key=lambda rule: rule.priority), 1):
            inner = [self._clauses.clause(clause) for clause in rule.clauses]
            matches = all(step.holds for step in inner)
            nothing = rule.serve.distribution is None and rule.serve.variation is None
            variation, reason = rule.serve.variation or "", Reason.RULE
            text = f"rule {number} (priority {rule.priority}) {'matches' if matches else 'does not match'}"
            if matches and not inner:
                text += " everybody: it has no clause"
            if matches and nothing:
                text += " but serves nothing, so the next rule is tried"
            elif matches and rule.serve.distribution is not None:
                variation = self._share(rule.serve.distribution, inner)
                reason = Reason.RULE_DISTRIBUTION
            steps.append(
                Step(
                    StepKind.RULE, text, matches, {"number": number, "priority": rule.priority}, tuple(inner)
                )
            )
            if matches and not nothing:
                return (variation, reason) if variation else None
        return None

    def _from_default(self, serve: Serve, steps: list[Step]) -> _Choice:
        if serve.distribution is not None and (variation := self._share(serve.distribution, steps)):
            return variation, Reason.DISTRIBUTION
        text = f"no rule decided: the default variation is served, {_named(serve.variation or '')}"
        steps.append(Step(StepKind.DEFAULT, text, facts={"variation": serve.variation or ""}))
        return serve.variation or "", Reason.DEFAULT

    def _share(self, distribution: Distribution, steps: list[Step]) -> str:
        """The variation of the target's share of a percentage rollout."""
        shares = distribution.variations
        if not shares:
            text = "the percentage rollout has no shares"
            steps.append(Step(StepKind.DISTRIBUTION, text, facts={"bucket_by": distribution.bucket_by}))
            return ""
        bucket = self._view[Bucket(distribution.bucket_by)]
        share = shares[share_of(thresholds(share.weight for share in shares), bucket)]
        where = "no bucket, so the last share" if bucket == NO_BUCKET else f"bucket {bucket} of 100"
        weights = ", ".join(f"{display_name(share.variation)} {share.weight}%" for share in shares)
        text = f"percentage rollout by {quote(distribution.bucket_by)} ({weights}): {where}: "
        facts = {
            "bucket_by": distribution.bucket_by,
            "bucket": None if bucket == NO_BUCKET else bucket,
            "shares": [{"variation": share.variation, "weight": share.weight} for share in shares],
            "variation": share.variation,
        }
        steps.append(Step(StepKind.DISTRIBUTION, text + display_name(share.variation), facts=facts))
        return share.variation


def _named(variation: str) -> str:
    return display_name(variation) if variation else "but none is named"
