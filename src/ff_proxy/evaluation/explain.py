"""Why a target gets a variation: every step of evaluation.md §1 in order, for ``ff-proxy explain``.

This walks a flag's record as the specification tells it, not the compiled steps, and so is a second
opinion as well: a property test holds its outcome to the engine's. What it shares with the engine are
the parts that both are made of: facts, conditions and buckets.
"""

from collections.abc import Iterator

import msgspec

from ff_proxy.evaluation.bucketing import NO_BUCKET, share_of, thresholds
from ff_proxy.evaluation.clauses import SEGMENT_MATCH, all_hold, member_of, prepare
from ff_proxy.evaluation.membership import Member
from ff_proxy.evaluation.outcomes import conclude, unknown_flag
from ff_proxy.evaluation.target_view import Bucket, TargetView, Text
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.feature import Clause, Distribution, FeatureConfig, Serve, ServingRule, VariationMap


class Step(msgspec.Struct, frozen=True):
    """Something that was looked at: ``holds`` is its outcome if it has one, ``inner`` its parts."""

    text: str
    holds: bool | None = None
    inner: "tuple[Step, ...]" = ()


class Explanation(msgspec.Struct, frozen=True):
    """A flag's outcome for a target, the same that ``Engine.evaluate`` gives, and the steps to it."""

    outcome: Evaluation | NoEvaluation
    steps: tuple[Step, ...]


def render(explanation: Explanation) -> str:
    """An explanation as lines of plain text: ``+`` holds, ``-`` does not, the outcome last."""
    lines = [line for step in explanation.steps for line in _lines(step, 0)]
    outcome = explanation.outcome
    if isinstance(outcome, Evaluation):
        lines.append(f"=> {outcome.flag}: {outcome.variation} = {outcome.value!r} ({outcome.reason})")
    else:
        lines.append(f"=> {outcome.flag}: no variation ({outcome.reason}): {outcome.detail}")
    return "\n".join(lines)


def _lines(step: Step, depth: int) -> Iterator[str]:
    mark = {True: "+", False: "-", None: " "}[step.holds]
    yield f"{'  ' * depth}{mark} {step.text}"
    for inner in step.inner:
        yield from _lines(inner, depth + 1)


def explain(flag: str, view: TargetView) -> Explanation:
    """The steps of ``flag`` for the view's target."""
    compiled = view.flags.get(flag)
    if compiled is None:
        return Explanation(unknown_flag(flag), ())
    record = compiled.record
    steps: list[Step] = []
    if _prerequisites_met(flag, view, steps):
        variation, reason = _own(record, view, steps)
    else:
        variation, reason = record.off_variation, Reason.PREREQUISITE
    return Explanation(conclude(flag, record, variation, reason), tuple(steps))


_Choice = tuple[str, Reason]


def _prerequisites_met(root: str, view: TargetView, steps: list[Step]) -> bool:
    """Each flag that ``root`` depends on, however far, once (evaluation.md §7)."""
    seen = [root]
    for flag in seen:
        for entry in view.flags[flag].record.prerequisites:
            text = f"prerequisite {entry.feature!r} of {flag!r}"
            wanted = view.flags.get(entry.feature)
            if wanted is None:
                steps.append(Step(f"{text}: no such flag, {flag!r} counts as satisfied", holds=True))
                break
            inner: list[Step] = []
            choice = _own(wanted.record, view, inner)
            outcome = conclude(entry.feature, wanted.record, *choice)
            if isinstance(outcome, NoEvaluation):
                text = f"{text}: no variation ({outcome.detail}), {flag!r} counts as satisfied"
                steps.append(Step(text, holds=True, inner=tuple(inner)))
                break
            met = outcome.variation in entry.variations
            text = f"{text}: has {outcome.variation!r}, wanted {_listed(entry.variations)}"
            steps.append(Step(text, met, tuple(inner)))
            if not met:
                return False
            if entry.feature not in seen:
                seen.append(entry.feature)
    return True


def _own(record: FeatureConfig, view: TargetView, steps: list[Step]) -> _Choice:
    """A flag's own choice, its prerequisites aside; the variation is empty if no step names one."""
    steps.append(Step(f"flag {record.identifier!r} is {'on' if record.on else 'off'}", record.on))
    if not record.on:
        return record.off_variation, Reason.OFF
    found: _Choice | None = None
    if view.targeted:
        found = _from_map(record.variation_map, view, steps) or _from_rules(record.rules, view, steps)
    else:
        steps.append(Step("no target: variation map and rules are skipped"))
    return found or _from_default(record.default_serve, view, steps)


def _from_map(entries: tuple[VariationMap, ...], view: TargetView, steps: list[Step]) -> _Choice | None:
    for entry in entries:
        named = bool(view.identifier) and view.identifier in entry.targets
        steps.append(Step(f"target is named for variation {entry.variation!r}", named))
        if named:
            return (entry.variation, Reason.TARGET_MAP) if entry.variation else None
        if entry.segments:
            inner = _segment_steps(entry.segments, view)
            grouped = bool(view[member_of(entry.segments)[0]])
            text = f"target is in {_listed(entry.segments)} for variation {entry.variation!r}"
            steps.append(Step(text, grouped, inner))
            if grouped:
                return (entry.variation, Reason.SEGMENT_MAP) if entry.variation else None
    return None


def _from_rules(rules: tuple[ServingRule, ...], view: TargetView, steps: list[Step]) -> _Choice | None:
    for number, rule in enumerate(sorted(rules, key=lambda rule: rule.priority), 1):
        inner = [_clause_step(clause, view) for clause in rule.clauses]
        matches = all(step.holds for step in inner)
        nothing = rule.serve.distribution is None and rule.serve.variation is None
        more = " but serves nothing, so the next one is asked" if matches and nothing else ""
        text = f"rule {number} (priority {rule.priority}) matches{more}"
        if not matches or nothing:
            steps.append(Step(text, matches, tuple(inner)))
            continue
        variation = rule.serve.variation or ""
        if rule.serve.distribution is not None:
            variation = _share(rule.serve.distribution, view, inner)
        steps.append(Step(text, matches, tuple(inner)))
        return (variation, Reason.RULE) if variation else None
    return None


def _from_default(serve: Serve, view: TargetView, steps: list[Step]) -> _Choice:
    if serve.distribution is not None and (variation := _share(serve.distribution, view, steps)):
        return variation, Reason.DISTRIBUTION
    steps.append(Step(f"default variation: {serve.variation or 'none'}"))
    return serve.variation or "", Reason.DEFAULT


def _share(distribution: Distribution, view: TargetView, steps: list[Step]) -> str:
    shares = distribution.variations
    if not shares:
        steps.append(Step("distribution has no shares"))
        return ""
    bucket = view[Bucket(distribution.bucket_by)]
    share = shares[share_of(thresholds(share.weight for share in shares), bucket)]
    where = "no bucket, the last share" if bucket == NO_BUCKET else f"bucket {bucket} of 100"
    weights = ", ".join(f"{share.variation} {share.weight}%" for share in shares)
    steps.append(Step(f"distribution by {distribution.bucket_by!r} ({weights}): {where}: {share.variation}"))
    return share.variation


def _clause_step(clause: Clause, view: TargetView) -> Step:
    condition = prepare(clause)
    holds = condition is not None and all_hold((condition,), view)
    if clause.op == SEGMENT_MATCH:
        inner = _segment_steps(clause.values, view)
        return Step(f"target is in {_listed(clause.values)}", holds, inner)
    value = view[Text(clause.attribute)]
    text = f"{clause.attribute} {value!r} {clause.op} {_listed(clause.values)}"
    return Step(text if condition else f"{text} (can never hold)", holds)


def _segment_steps(segments: tuple[str, ...], view: TargetView) -> tuple[Step, ...]:
    return tuple(_segment_step(segment, view) for segment in segments)


def _segment_step(identifier: str, view: TargetView) -> Step:
    segment = view.segments.get(identifier)
    if segment is None:
        return Step(f"segment {identifier!r} does not exist, the next one is asked", holds=False)
    if view.identifier in segment.excluded:
        return Step(f"segment {identifier!r} excludes the target, which ends the list", holds=False)
    if view.identifier in segment.included:
        return Step(f"segment {identifier!r} includes the target", holds=True)
    return Step(f"segment {identifier!r} matches the target by its rules", bool(view[Member(identifier)]))


def _listed(names: tuple[str, ...]) -> str:
    return f"[{', '.join(map(repr, names))}]"
