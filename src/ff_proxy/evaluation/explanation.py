"""What an explanation is: a tree of steps as a value, and the same as lines of text.

Command line, API and page show the same record. A step says what it is (``kind``), what was found in a
sentence (``text``), and the same in ``facts`` for programs; whatever came from outside is quoted in texts.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from ff_proxy.model.evaluation import Evaluation, NoEvaluation


class StepKind(StrEnum):
    """What was looked at."""

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
    """Something that was looked at.

    ``holds`` is its outcome if it has one, ``inner`` are its parts, in the order they were looked at.
    ``facts`` holds JSON values only.
    """

    kind: StepKind
    text: str
    holds: bool | None = None
    facts: Mapping[str, object] = {}
    inner: "tuple[Step, ...]" = ()


class Explanation(msgspec.Struct, frozen=True):
    """A flag's outcome for a target, the same that ``Engine.evaluate`` gives, and the steps to it."""

    outcome: Evaluation | NoEvaluation
    steps: tuple[Step, ...]


def render(explanation: Explanation) -> str:
    """An explanation as lines of plain text: ``+`` holds, ``-`` does not, the outcome last."""
    lines = [line for step in explanation.steps for line in _lines(step, 0)]
    return "\n".join([*lines, _outcome(explanation.outcome)])


def _outcome(outcome: Evaluation | NoEvaluation) -> str:
    if isinstance(outcome, NoEvaluation):
        return f"=> {plain(outcome.flag)}: no variation ({outcome.reason}): {outcome.detail}"
    variation = plain(outcome.variation)
    return f"=> {plain(outcome.flag)}: {variation} = {outcome.value!r} ({outcome.reason})"


def plain(text: str) -> str:
    """``text`` without quotes if it is a name that a terminal shows as it is, else quoted and escaped."""
    return text if text and text.isprintable() and " " not in text else repr(text)


def _lines(step: Step, depth: int) -> Iterator[str]:
    mark = {True: "+", False: "-", None: " "}[step.holds]
    yield f"{'  ' * depth}{mark} {step.text}"
    for inner in step.inner:
        yield from _lines(inner, depth + 1)
