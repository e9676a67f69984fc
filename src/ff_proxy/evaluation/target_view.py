"""A target during one evaluation pass: its facts, computed once and only when needed.

A ``Fact`` is a question about the target ("what is its e-mail, folded?", "which bucket is it in?"). A
``TargetView`` maps facts to values: the first ``view[fact]`` computes the value, later ones look it up.
Compiled flags and segments refer to facts, never to each other, so that each can be replaced alone.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

import msgspec

from ff_proxy.evaluation.attributes import attribute_text
from ff_proxy.evaluation.bucketing import NO_BUCKET, bucket_of
from ff_proxy.evaluation.case_folding import fold
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


class ViewedResult(Protocol):
    """The part of a flag's result that facts use."""

    @property
    def variation(self) -> str | None:
        """The variation's identifier, if any."""
        ...

    @property
    def evaluation(self) -> Evaluation | NoEvaluation:
        """The whole outcome."""
        ...


class ViewedFlag(Protocol):
    """The part of a compiled flag that facts use."""

    @property
    def record(self) -> FeatureConfig:
        """The record it was compiled from."""
        ...

    def evaluate(self, view: "TargetView") -> ViewedResult:
        """The result for the view's target."""
        ...

    def own(self, view: "TargetView") -> ViewedResult:
        """The result for the view's target, ignoring prerequisites."""
        ...


class ViewedSegment(Protocol):
    """The part of a compiled segment that facts use."""

    @property
    def record(self) -> Segment:
        """The record it was compiled from."""
        ...

    @property
    def included(self) -> frozenset[str]:
        """Identifiers of targets that are members unless excluded."""
        ...

    @property
    def excluded(self) -> frozenset[str]:
        """Identifiers of targets that are never members."""
        ...

    @property
    def references(self) -> tuple[str, ...]:
        """The segments that its clauses name."""
        ...

    @property
    def lists(self) -> tuple[Fact, ...]:
        """The facts about several segments that its clauses use."""
        ...

    def membership(self, view: "TargetView") -> bool | None:
        """Whether the view's target is a member; ``None`` if it is excluded."""
        ...


class TargetView(dict[Fact, Any]):
    """The facts of one pass; ``flags`` and ``segments`` are the environment's, compiled."""

    __slots__ = ("attributes", "flags", "identifier", "name", "segments", "targeted")

    def __init__(
        self,
        target: Target | None,
        flags: Mapping[str, ViewedFlag],
        segments: Mapping[str, ViewedSegment],
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
