"""A target as one evaluation pass sees it: facts, each worked out once and only when asked for.

A ``Fact`` is a question about the target ("what is its e-mail, folded?", "which bucket is it in?"). The
``TargetView`` maps facts to answers: the first ``view[fact]`` works the answer out, later ones look it up,
however many clauses, flags and segments ask. Compiled flags and segments hold facts and never each
other, so that one of them can be replaced without touching the rest.
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
    """Something about a target; equal facts have equal answers."""

    def answer(self, view: "TargetView") -> object:
        """Work it out."""
        raise NotImplementedError


_Fact = TypeVar("_Fact", bound=Fact)


@lru_cache(maxsize=8192)
def shared(fact: _Fact) -> _Fact:
    """The same fact, as one object for all equal ones: views find it without comparing."""
    return fact


class ViewedResult(Protocol):
    """What facts need of a flag's result."""

    @property
    def variation(self) -> str | None:
        """The variation's identifier, if there is one."""
        ...

    @property
    def evaluation(self) -> Evaluation | NoEvaluation:
        """The whole outcome."""
        ...


class ViewedFlag(Protocol):
    """What facts need of a compiled flag."""

    @property
    def record(self) -> FeatureConfig:
        """What it was compiled from."""
        ...

    def evaluate(self, view: "TargetView") -> ViewedResult:
        """Its result for the view's target."""
        ...

    def own(self, view: "TargetView") -> ViewedResult:
        """Its result for the view's target if its prerequisites were met."""
        ...


class ViewedSegment(Protocol):
    """What facts need of a compiled segment."""

    @property
    def record(self) -> Segment:
        """What it was compiled from."""
        ...

    @property
    def included(self) -> frozenset[str]:
        """Identifiers of targets that are members unless they are excluded."""
        ...

    @property
    def excluded(self) -> frozenset[str]:
        """Identifiers of targets that are no members."""
        ...

    @property
    def references(self) -> tuple[str, ...]:
        """The segments that its clauses name."""
        ...

    @property
    def lists(self) -> tuple[Fact, ...]:
        """The facts about several segments that its clauses ask for."""
        ...

    def membership(self, view: "TargetView") -> bool | None:
        """Whether the view's target is a member; ``None`` if it is excluded."""
        ...


class TargetView(dict[Fact, Any]):
    """The answers of one pass; ``flags`` and ``segments`` are the environment's, compiled."""

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
    """An attribute as text, without the difference between cases."""

    text: Text

    def answer(self, view: TargetView) -> str:
        """The text folded."""
        return fold(view[self.text])


class Bucket(Fact, frozen=True, cache_hash=True, gc=False):
    """The target's bucket, 1..100, by the attribute ``bucket_by`` (spec/evaluation#distribution)."""

    bucket_by: str

    def answer(self, view: TargetView) -> float:
        """Without the attribute, the identifier decides, under the prefix ``identifier``."""
        if value := view[Text(self.bucket_by)]:
            return bucket_of(self.bucket_by, value)
        return bucket_of(IDENTIFIER.attribute, view.identifier) if view.identifier else NO_BUCKET


IDENTIFIER: Final = Text("identifier")
"""The target's identifier."""

_NOBODY: Final = Target("")
