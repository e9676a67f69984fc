"""Outcomes of a flag's steps: a precomputed result, or a choice that leads to one."""

from collections.abc import Mapping

import msgspec

from ff_proxy.evaluation.bucketing import share_of
from ff_proxy.evaluation.clauses import Condition, Test
from ff_proxy.evaluation.target_view import Bucket, Fact, TargetView
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.feature import FeatureConfig


class Result(msgspec.Struct, frozen=True, gc=False):
    """The end of an evaluation, computed when the flag is compiled.

    Without a variation, ``variation`` is ``None`` and ``fragment`` (the evaluation's JSON object) is empty.
    """

    evaluation: Evaluation | NoEvaluation
    variation: str | None
    fragment: bytes

    def resolve(self, _view: TargetView) -> "Result":
        """Return itself: a result depends on no target."""
        return self


class Rollout(msgspec.Struct, frozen=True, gc=False):
    """A percentage rollout with one outcome per share, in order (spec/evaluation#distribution)."""

    bucket: Bucket
    thresholds: tuple[int, ...]
    outcomes: "tuple[Outcome, ...]"

    def resolve(self, view: TargetView) -> Result:
        """The result of the target's share."""
        return self.outcomes[share_of(self.thresholds, view[self.bucket])].resolve(view)


Step = tuple[Fact, Test, tuple[Condition, ...], "Outcome"]
"""One condition, more that must also hold (mostly none), and the outcome.

A plain tuple, because the loop over steps is the engine's hot path and unpacks it fastest.
"""


class Chain(msgspec.Struct, frozen=True, gc=False):
    """Outcomes ``by_target`` identifier, then steps in order: the first match decides, else ``otherwise``."""

    by_target: "Mapping[str, Outcome]"
    steps: tuple[Step, ...]
    otherwise: "Outcome"

    def resolve(self, view: TargetView) -> Result:
        """The result of the first match."""
        if view.identifier in self.by_target:
            return self.by_target[view.identifier].resolve(view)
        for fact, test, rest, outcome in self.steps:
            if test(view[fact]):
                for more_conditions, wanted in rest:
                    if not wanted(view[more_conditions]):
                        break
                else:
                    return outcome if type(outcome) is Result else outcome.resolve(view)
        return self.otherwise.resolve(view)


class Guarded(msgspec.Struct, frozen=True, gc=False):
    """An outcome guarded by a fact: if the fact is true, ``failed`` is the result."""

    fact: Fact
    failed: Result
    passed: "Outcome"

    def resolve(self, view: TargetView) -> Result:
        """The result of ``passed``, or ``failed``."""
        return self.failed if view[self.fact] else self.passed.resolve(view)


Outcome = Result | Rollout | Chain | Guarded
"""Anything that resolves to a result."""


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
