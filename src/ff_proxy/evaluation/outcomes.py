"""What a flag's steps lead to: a ready result, or a choice that leads to one."""

from collections.abc import Mapping

import msgspec

from ff_proxy.evaluation.bucketing import share_of
from ff_proxy.evaluation.clauses import Condition, Test
from ff_proxy.evaluation.target_view import Bucket, Fact, TargetView
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.feature import FeatureConfig


class Result(msgspec.Struct, frozen=True, gc=False):
    """The end of an evaluation, made when the flag was compiled.

    ``variation`` is ``None`` and ``fragment`` (the evaluation's JSON object) empty if there is none.
    """

    evaluation: Evaluation | NoEvaluation
    variation: str | None
    fragment: bytes

    def settle(self, _view: TargetView) -> "Result":
        """Itself: an end needs no target."""
        return self


class Rollout(msgspec.Struct, frozen=True, gc=False):
    """A percentage rollout: ``outcomes`` are those of its shares, in order (spec/evaluation#distribution)."""

    bucket: Bucket
    thresholds: tuple[int, ...]
    outcomes: "tuple[Outcome, ...]"

    def settle(self, view: TargetView) -> Result:
        """What the share of the target's bucket leads to."""
        return self.outcomes[share_of(self.thresholds, view[self.bucket])].settle(view)


Step = tuple[Fact, Test, tuple[Condition, ...], "Outcome"]
"""One condition, further ones that must hold too (mostly none), and what they lead to.

A plain tuple, because the loop over steps is the heart of the engine and takes it apart fastest.
"""


class Chain(msgspec.Struct, frozen=True, gc=False):
    """Targets that are ``named``, by identifier, then steps in order: the first that holds decides.

    If nothing does, ``otherwise`` does.
    """

    named: "Mapping[str, Outcome]"
    steps: tuple[Step, ...]
    otherwise: "Outcome"

    def settle(self, view: TargetView) -> Result:
        """What the name or the first step that holds leads to."""
        if view.identifier in self.named:
            return self.named[view.identifier].settle(view)
        for fact, test, rest, outcome in self.steps:
            if test(view[fact]):
                for further, wanted in rest:
                    if not wanted(view[further]):
                        break
                else:
                    return outcome if type(outcome) is Result else outcome.settle(view)
        return self.otherwise.settle(view)


class Gated(msgspec.Struct, frozen=True, gc=False):
    """An outcome behind a fact: if it is true of the target, ``failed`` is the end."""

    fact: Fact
    failed: Result
    passed: "Outcome"

    def settle(self, view: TargetView) -> Result:
        """What lies behind, or the failure."""
        return self.failed if view[self.fact] else self.passed.settle(view)


Outcome = Result | Rollout | Chain | Gated
"""Anything that settles into a result."""


def conclude(flag: str, record: FeatureConfig, variation: str, reason: Reason) -> Evaluation | NoEvaluation:
    """The evaluation of ``flag`` when ``reason`` names ``variation`` (spec/evaluation#one-flag).

    The first of several variations with one identifier wins; an unknown one is not passed over.
    """
    if not variation:
        return NoEvaluation(flag, Reason.NO_VARIATION, "no step names a variation")
    for known in record.variations:
        if known.identifier == variation:
            return Evaluation(flag, record.kind, variation, known.value, reason)
    detail = f"{reason} names {variation!r}, which is not among the flag's variations"
    return NoEvaluation(flag, Reason.UNKNOWN_VARIATION, detail)


def unknown_flag(flag: str) -> NoEvaluation:
    """The answer about a flag that the environment does not have."""
    return NoEvaluation(flag, Reason.UNKNOWN_FLAG, "the environment has no such flag")
