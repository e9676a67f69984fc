"""Compiled flags and segments, and the target that they look at during one evaluation pass.

A ``Fact`` is a question about the target ("what is its e-mail, folded?", "which bucket is it in?"). A
``TargetView`` maps facts to values: the first ``view[fact]`` computes the value, later ones look it up.
Compiled flags and segments refer to facts, never to each other, so that each can be replaced alone.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from ff_proxy.evaluation.attributes import attribute_text, fold
from ff_proxy.evaluation.bucketing import NO_BUCKET, bucket_of, share_of
from ff_proxy.model.evaluation import Evaluation, NoEvaluation
from ff_proxy.model.feature import FeatureConfig, Segment
from ff_proxy.model.target import Target


class Fact(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """Something about a target; equal facts have equal values."""

    def answer(self, view: "TargetView") -> object:
        """Compute it."""
        raise NotImplementedError


_Fact = TypeVar("_Fact", bound=Fact)


@lru_cache(maxsize=8192)
def interned(fact: _Fact) -> _Fact:
    """Intern a fact, so that views find equal facts by identity."""
    return fact


class TargetView(dict[Fact, Any]):
    """The facts of one pass; ``flags`` and ``segments`` are the environment's, compiled."""

    __slots__ = ("attributes", "flags", "identifier", "name", "segments", "targeted")

    def __init__(
        self,
        target: Target | None,
        flags: "Mapping[str, CompiledFlag]",
        segments: "Mapping[str, CompiledSegment]",
    ) -> None:
        self.flags = flags
        self.segments = segments
        self.targeted = target is not None
        described = target or _NOBODY
        self.identifier = described.identifier
        self.name = described.name
        self.attributes = described.attributes

    def __missing__(self, fact: Fact) -> object:
        answer = self[fact] = fact.answer(self)
        return answer


class Text(Fact, frozen=True, cache_hash=True, gc=False):
    """An attribute as text, ``""`` if the target has none of that name (spec/evaluation#attributes)."""

    attribute: str

    def answer(self, view: TargetView) -> str:
        """The target's own ``identifier`` and ``name`` come before custom attributes of these names."""
        match self.attribute:
            case "identifier":
                return view.identifier
            case "name":
                return view.name
            case "":
                return ""
        value = view.attributes.get(self.attribute, "")
        return value if type(value) is str else attribute_text(value)


class FoldedText(Fact, frozen=True, cache_hash=True, gc=False):
    """An attribute as case-folded text."""

    text: Text

    def answer(self, view: TargetView) -> str:
        """The text folded."""
        return fold(view[self.text])


class Bucket(Fact, frozen=True, cache_hash=True, gc=False):
    """The target's bucket, 1..100, by the attribute ``bucket_by`` (spec/evaluation#distribution)."""

    bucket_by: str

    def answer(self, view: TargetView) -> float:
        """Without the attribute, bucket by ``identifier``."""
        if value := view[Text(self.bucket_by)]:
            return bucket_of(self.bucket_by, value)
        return bucket_of(IDENTIFIER.attribute, view.identifier) if view.identifier else NO_BUCKET


IDENTIFIER: Final = Text("identifier")
"""The target's identifier."""

_NOBODY: Final = Target("")

Test = Callable[[Any], object]
"""Truthy if the fact's value satisfies the clause."""

Condition = tuple[Fact, Test]
"""A compiled clause."""


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


class CompiledFlag(msgspec.Struct, frozen=True, gc=False):
    """A compiled flag.

    ``targeted`` and ``untargeted`` are its full evaluation with and without a target. ``own_targeted`` and
    ``own_untargeted`` ignore its prerequisites; flags that depend on it use them.
    """

    record: FeatureConfig
    targeted: Outcome
    untargeted: Outcome
    own_targeted: Outcome
    own_untargeted: Outcome

    def evaluate(self, view: TargetView) -> Result:
        """The result for the view's target."""
        return (self.targeted if view.targeted else self.untargeted).resolve(view)

    def own(self, view: TargetView) -> Result:
        """The result for the view's target, ignoring prerequisites."""
        return (self.own_targeted if view.targeted else self.own_untargeted).resolve(view)


class CompiledSegment(msgspec.Struct, frozen=True, gc=False):
    """A compiled segment.

    ``references`` are the segments that its clauses name; ``lists`` are the facts about several segments at
    once. Both are rare, and are needed to resolve circular references.
    """

    record: Segment
    included: frozenset[str]
    excluded: frozenset[str]
    groups: tuple[tuple[Condition, ...], ...]
    references: tuple[str, ...]
    lists: tuple[Fact, ...]

    def membership(self, view: TargetView) -> bool | None:
        """Whether the target is a member: excluded (``None``) overrides included, which overrides rules."""
        if view.identifier in self.excluded:
            return None
        if view.identifier in self.included:
            return True
        for group in self.groups:
            for fact, test in group:
                if not test(view[fact]):
                    break
            else:
                return True
        return False
