"""Explanations: a tree of steps, and its rendering as text.

The command line, the API and the admin page show the same record. A step has a ``kind``, a sentence about its
result (``text``), and the same as ``facts`` for programs. Text quotes everything that comes from outside.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from ff_proxy.model.evaluation import Evaluation, NoEvaluation


class StepKind(StrEnum):
    """What a step examined."""

    PREREQUISITE = "prerequisite"
    STATE = "state"
    TARGET = "target"
    TARGET_MAP = "target_map"
    RULE = "rule"
    CLAUSE = "clause"
    GROUP = "group"
    DISTRIBUTION = "distribution"
    DEFAULT = "default"


class Step(msgspec.Struct, frozen=True):
    """One step of an evaluation.

    ``holds`` is its outcome, if it has one; ``inner`` are its parts in evaluation order. ``facts`` holds JSON
    values only.
    """

    kind: StepKind
    text: str
    holds: bool | None = None
    facts: Mapping[str, object] = {}
    inner: "tuple[Step, ...]" = ()


class Explanation(msgspec.Struct, frozen=True):
    """A flag's outcome for a target, equal to that of ``Engine.evaluate``, and the steps that led to it."""

    outcome: Evaluation | NoEvaluation
    steps: tuple[Step, ...]


def render(explanation: Explanation) -> str:
    """Render an explanation as lines of text: ``+`` holds, ``-`` does not; the outcome comes last."""
    lines = [line for step in explanation.steps for line in _lines(step, 0)]
    return "\n".join([*lines, _outcome(explanation.outcome)])


def _outcome(outcome: Evaluation | NoEvaluation) -> str:
    if isinstance(outcome, NoEvaluation):
        return f"=> {display_name(outcome.flag)}: no variation ({outcome.reason}): {outcome.detail}"
    variation = display_name(outcome.variation)
    return f"=> {display_name(outcome.flag)}: {variation} = {outcome.value!r} ({outcome.reason})"


def display_name(text: str) -> str:
    """Return a simple printable name unchanged; quote and escape anything else."""
    return text if text and text.isprintable() and " " not in text else repr(text)


def _lines(step: Step, depth: int) -> Iterator[str]:
    mark = {True: "+", False: "-", None: " "}[step.holds]
    yield f"{'  ' * depth}{mark} {step.text}"
    for inner in step.inner:
        yield from _lines(inner, depth + 1)
