"""Compiling flags: a record becomes steps that end in precomputed results.

See spec/evaluation#one-flag, spec/evaluation#rules, spec/evaluation#variation-map.
"""

from ff_proxy.evaluation.bucketing import thresholds
from ff_proxy.evaluation.clauses import compile_clauses, member_of
from ff_proxy.evaluation.prerequisites import PrerequisitesFailed
from ff_proxy.evaluation.target_view import (
    IDENTIFIER,
    Bucket,
    Chain,
    CompiledFlag,
    Guarded,
    Outcome,
    Result,
    Rollout,
    Step,
    interned,
)
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.feature import Distribution, FeatureConfig, Serve, ServingRule
from ff_proxy.wire.evaluation import encode_evaluation


def compile_flag(identifier: str, record: FeatureConfig, *, escape_json: bool) -> CompiledFlag:
    """Compile a flag that the environment knows as ``identifier``.

    ``escape_json`` applies to the JSON of its results (spec/evaluation#results).
    """
    results = _Results(identifier, record, escape_json=escape_json)
    if record.on:
        own_untargeted = _default(record.default_serve, results)
        own_targeted = _compile_target_map(record, results, _compile_rules(record, results, own_untargeted))
    else:
        own_targeted = own_untargeted = results.of(record.off_variation, Reason.OFF)
    if not record.prerequisites:
        return CompiledFlag(record, own_targeted, own_untargeted, own_targeted, own_untargeted)
    failed = results.of(record.off_variation, Reason.PREREQUISITE)
    targeted, untargeted = (
        Guarded(PrerequisitesFailed(identifier), failed, own) for own in (own_targeted, own_untargeted)
    )
    return CompiledFlag(record, targeted, untargeted, own_targeted, own_untargeted)


class _Results:
    """A flag's possible results, one per variation and reason."""

    def __init__(self, flag: str, record: FeatureConfig, *, escape_json: bool) -> None:
        self._flag = flag
        self._record = record
        self._escape_json = escape_json
        self._fragments: dict[str, bytes] = {}
        self._results: dict[tuple[str, Reason], Result] = {}

    def of(self, variation: str, reason: Reason) -> Result:
        """The result of serving ``variation`` for ``reason``."""
        result = self._results.get((variation, reason))
        if result is None:
            result = self._results[variation, reason] = self._make(variation, reason)
        return result

    def _make(self, variation: str, reason: Reason) -> Result:
        evaluation = make_evaluation(self._flag, self._record, variation, reason)
        if isinstance(evaluation, NoEvaluation):
            return Result(evaluation, None, b"")
        fragment = self._fragments.get(variation)
        if fragment is None:
            fragment = encode_evaluation(evaluation, escape_json=self._escape_json)
            self._fragments[variation] = fragment
        return Result(evaluation, variation, fragment)


def _default(serve: Serve, results: _Results) -> Outcome:
    default_result = results.of(serve.variation or "", Reason.DEFAULT)
    if serve.distribution is None:
        return default_result
    return _rollout(serve.distribution, Reason.DISTRIBUTION, results, default_result)


def _rollout(distribution: Distribution, reason: Reason, results: _Results, otherwise: Outcome) -> Outcome:
    """Compile a distribution; no shares, or a share without a variation, lead to ``otherwise``."""
    if not distribution.variations:
        return otherwise
    return Rollout(
        interned(Bucket(distribution.bucket_by)),
        thresholds(share.weight for share in distribution.variations),
        tuple(
            results.of(share.variation, reason) if share.variation else otherwise
            for share in distribution.variations
        ),
    )


def _compile_rules(record: FeatureConfig, results: _Results, otherwise: Outcome) -> Outcome:
    """Compile the rules in order of priority, followed by ``otherwise``."""
    steps: list[Step] = []
    for rule in sorted(record.rules, key=_priority):
        outcome = _serve_outcome(rule.serve, results, otherwise)
        conditions = compile_clauses(rule.clauses)
        if outcome is None or conditions is None:
            continue
        if not conditions:
            # A rule without clauses matches everyone, so later rules are never reached.
            otherwise = outcome
            break
        (fact, test), *rest = conditions
        steps.append((fact, test, tuple(rest), outcome))
    return Chain({}, tuple(steps), otherwise) if steps else otherwise


def _priority(rule: ServingRule) -> int:
    return rule.priority


def _serve_outcome(serve: Serve, results: _Results, otherwise: Outcome) -> Outcome | None:
    """What a rule serves; ``None`` if nothing, so that the next rule is tried."""
    if serve.distribution is not None:
        return _rollout(serve.distribution, Reason.RULE_DISTRIBUTION, results, otherwise)
    if serve.variation is None:
        return None
    return results.of(serve.variation, Reason.RULE) if serve.variation else otherwise


def _compile_target_map(record: FeatureConfig, results: _Results, rules: Outcome) -> Outcome:
    """Compile the target map in order, followed by ``rules``; a match without a variation ends the map.

    Targets listed before any segment are found by a dictionary lookup.
    """
    by_target: dict[str, Outcome] = {}
    steps: list[Step] = []
    for entry in record.variation_map:
        outcome = results.of(entry.variation, Reason.TARGET_MAP) if entry.variation else rules
        targets = frozenset(filter(None, entry.targets))
        if steps and targets:
            steps.append((IDENTIFIER, targets.__contains__, (), outcome))
        elif targets:
            by_target = dict.fromkeys(targets, outcome) | by_target
        if entry.segments:
            outcome = results.of(entry.variation, Reason.SEGMENT_MAP) if entry.variation else rules
            steps.append((*member_of(entry.segments), (), outcome))
    if isinstance(rules, Chain):
        return Chain(by_target, (*steps, *rules.steps), rules.otherwise)
    return Chain(by_target, tuple(steps), rules) if by_target or steps else rules


def make_evaluation(
    flag: str, record: FeatureConfig, variation: str, reason: Reason
) -> Evaluation | NoEvaluation:
    """The evaluation of ``flag`` when ``reason`` names ``variation`` (spec/evaluation#one-flag).

    If several variations have one identifier, the first wins. An unknown variation gives no evaluation.
    """
    if not variation:
        return NoEvaluation(flag, Reason.NO_VARIATION, "no step names a variation")
    for known in record.variations:
        if known.identifier == variation:
            return Evaluation(flag, record.kind, variation, known.value, reason)
    detail = f"{reason} names {variation!r}, which is not among the flag's variations"
    return NoEvaluation(flag, Reason.UNKNOWN_VARIATION, detail)


def unknown_flag(flag: str) -> NoEvaluation:
    """The result for a flag that the environment does not have."""
    return NoEvaluation(flag, Reason.UNKNOWN_FLAG, "the environment has no such flag")
