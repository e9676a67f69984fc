"""Flags, compiled: a record becomes steps that end in ready results.

See spec/evaluation#one-flag, spec/evaluation#rules, spec/evaluation#variation-map.
"""

import msgspec

from ff_proxy.evaluation.bucketing import thresholds
from ff_proxy.evaluation.clauses import member_of, prepare_all
from ff_proxy.evaluation.outcomes import Chain, Gated, Outcome, Result, Rollout, Step, conclude
from ff_proxy.evaluation.prerequisites import Unmet
from ff_proxy.evaluation.target_view import IDENTIFIER, Bucket, TargetView, shared
from ff_proxy.model.evaluation import NoEvaluation, Reason
from ff_proxy.model.feature import Distribution, FeatureConfig, Serve, ServingRule
from ff_proxy.wire.evaluation import encode_evaluation


class CompiledFlag(msgspec.Struct, frozen=True, gc=False):
    """A flag ready to be asked.

    ``targeted`` and ``untargeted`` are its whole evaluation with and without a target, ``own_targeted``
    and ``own_untargeted`` the same without its prerequisites, for flags that depend on it.
    """

    record: FeatureConfig
    targeted: Outcome
    untargeted: Outcome
    own_targeted: Outcome
    own_untargeted: Outcome

    def evaluate(self, view: TargetView) -> Result:
        """Its result for the view's target."""
        return (self.targeted if view.targeted else self.untargeted).settle(view)

    def own(self, view: TargetView) -> Result:
        """Its result for the view's target if its prerequisites were met."""
        return (self.own_targeted if view.targeted else self.own_untargeted).settle(view)


def compile_flag(identifier: str, record: FeatureConfig, *, escape_json: bool) -> CompiledFlag:
    """A flag's record → the flag compiled, known to the environment as ``identifier``.

    ``escape_json`` is about the JSON of its results (spec/evaluation#results).
    """
    results = _Results(identifier, record, escape_json=escape_json)
    if record.on:
        own_untargeted = _default(record.default_serve, results)
        own_targeted = _mapped(record, results, _ruled(record, results, own_untargeted))
    else:
        own_targeted = own_untargeted = results.of(record.off_variation, Reason.OFF)
    if not record.prerequisites:
        return CompiledFlag(record, own_targeted, own_untargeted, own_targeted, own_untargeted)
    failed = results.of(record.off_variation, Reason.PREREQUISITE)
    targeted, untargeted = (Gated(Unmet(identifier), failed, own) for own in (own_targeted, own_untargeted))
    return CompiledFlag(record, targeted, untargeted, own_targeted, own_untargeted)


class _Results:
    """A flag's possible results, one for each variation and reason."""

    def __init__(self, flag: str, record: FeatureConfig, *, escape_json: bool) -> None:
        self._flag = flag
        self._record = record
        self._escape_json = escape_json
        self._fragments: dict[str, bytes] = {}
        self._made: dict[tuple[str, Reason], Result] = {}

    def of(self, variation: str, reason: Reason) -> Result:
        """The result that ``variation`` is served because of ``reason``."""
        made = self._made.get((variation, reason))
        if made is None:
            made = self._made[variation, reason] = self._make(variation, reason)
        return made

    def _make(self, variation: str, reason: Reason) -> Result:
        evaluation = conclude(self._flag, self._record, variation, reason)
        if isinstance(evaluation, NoEvaluation):
            return Result(evaluation, None, b"")
        fragment = self._fragments.get(variation)
        if fragment is None:
            fragment = encode_evaluation(evaluation, escape_json=self._escape_json)
            self._fragments[variation] = fragment
        return Result(evaluation, variation, fragment)


def _default(serve: Serve, results: _Results) -> Outcome:
    plain = results.of(serve.variation or "", Reason.DEFAULT)
    if serve.distribution is None:
        return plain
    return _rollout(serve.distribution, Reason.DISTRIBUTION, results, plain)


def _rollout(distribution: Distribution, reason: Reason, results: _Results, otherwise: Outcome) -> Outcome:
    """A distribution; a share that names no variation, or having no shares, leads to ``otherwise``."""
    if not distribution.variations:
        return otherwise
    return Rollout(
        shared(Bucket(distribution.bucket_by)),
        thresholds(share.weight for share in distribution.variations),
        tuple(
            results.of(share.variation, reason) if share.variation else otherwise
            for share in distribution.variations
        ),
    )


def _ruled(record: FeatureConfig, results: _Results, otherwise: Outcome) -> Outcome:
    """The rules in order of priority, then ``otherwise``."""
    steps: list[Step] = []
    for rule in sorted(record.rules, key=_priority):
        outcome = _served(rule.serve, results, otherwise)
        conditions = prepare_all(rule.clauses)
        if outcome is None or conditions is None:
            continue
        if not conditions:
            # A rule without clauses matches everyone: those after it are never reached.
            otherwise = outcome
            break
        (fact, test), *rest = conditions
        steps.append((fact, test, tuple(rest), outcome))
    return Chain({}, tuple(steps), otherwise) if steps else otherwise


def _priority(rule: ServingRule) -> int:
    return rule.priority


def _served(serve: Serve, results: _Results, otherwise: Outcome) -> Outcome | None:
    """What a rule serves; ``None`` if nothing, so that the next rule is asked."""
    if serve.distribution is not None:
        return _rollout(serve.distribution, Reason.RULE, results, otherwise)
    if serve.variation is None:
        return None
    return results.of(serve.variation, Reason.RULE) if serve.variation else otherwise


def _mapped(record: FeatureConfig, results: _Results, rules: Outcome) -> Outcome:
    """The variation map in order, then ``rules``; a hit that names no variation ends the map.

    Targets are looked up by name as far as no segment comes before them.
    """
    named: dict[str, Outcome] = {}
    steps: list[Step] = []
    for entry in record.variation_map:
        outcome = results.of(entry.variation, Reason.TARGET_MAP) if entry.variation else rules
        targets = frozenset(filter(None, entry.targets))
        if steps and targets:
            steps.append((IDENTIFIER, targets.__contains__, (), outcome))
        elif targets:
            named = dict.fromkeys(targets, outcome) | named
        if entry.segments:
            outcome = results.of(entry.variation, Reason.SEGMENT_MAP) if entry.variation else rules
            steps.append((*member_of(entry.segments), (), outcome))
    if isinstance(rules, Chain):
        return Chain(named, (*steps, *rules.steps), rules.otherwise)
    return Chain(named, tuple(steps), rules) if named or steps else rules
