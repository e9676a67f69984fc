"""Explains why a target gets its variations, for pages and API."""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ff_proxy.errors import RequestError, StoreError
from ff_proxy.evaluation import Explanation
from ff_proxy.evaluation.explanation import Step
from ff_proxy.model.evaluation import Evaluation
from ff_proxy.model.target import Target
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.store.protocol import Targets
from ff_proxy.wire.config import read_target

AT_ONCE: Final = 200


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """A flag's outcome for the target, with every step."""

    flag: str
    kind: str
    variation: str | None
    value: str | None
    reason: str
    detail: str
    steps: tuple[Step, ...]


class Answers(msgspec.Struct, frozen=True, rename="camel"):
    """Answers for some flags and one target; ``left_out`` counts matching flags that are not shown."""

    target: Target
    known: bool
    answers: tuple[Answer, ...]
    left_out: int


async def asked_target(
    targets: Targets, snapshot: Snapshot, identifier: str, name: str, attributes: str
) -> tuple[Target, bool]:
    """The target to evaluate, and whether its attributes are those that SDKs have sent.

    ``attributes`` is a JSON object, or empty for the stored ones. Raises ``RequestError`` 400.
    """
    if attributes.strip():
        described = read_target({"identifier": identifier, "name": name, "attributes": _parsed(attributes)})
        return described or Target(identifier, name), False
    try:
        known = await targets.get(snapshot.environment, identifier) if identifier else None
    except StoreError:
        known = None
    if known is None:
        return Target(identifier, name), False
    return (msgspec.structs.replace(known, name=name) if name else known), True


def answer(
    snapshot: Snapshot,
    target: Target,
    *,
    known: bool,
    flag: str | None = None,
    search: str = "",
    limit: int | None = AT_ONCE,
) -> Answers:
    """Explain one flag, or the first ``limit`` ones that contain ``search``; slow for many flags."""
    engine = snapshot.engine
    wanted = [flag] if flag is not None else [one for one in sorted(engine.flags) if search in one]
    view = target if target.identifier or target.attributes else None
    explained = [_answer(engine.explain(one, view)) for one in wanted[:limit]]
    return Answers(target, known, tuple(explained), len(wanted) - len(explained))


def _answer(explanation: Explanation) -> Answer:
    outcome = explanation.outcome
    if isinstance(outcome, Evaluation):
        kind, variation, value, detail = outcome.kind, outcome.variation, outcome.value, ""
        return Answer(outcome.flag, kind, variation, value, outcome.reason.value, detail, explanation.steps)
    return Answer(outcome.flag, "", None, None, outcome.reason.value, outcome.detail, explanation.steps)


def _parsed(attributes: str) -> Mapping[str, Any]:
    try:
        doc = json.loads(attributes)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"attributes are not JSON: {error}") from error
    if not isinstance(doc, dict):
        raise RequestError(400, 'attributes must be a JSON object, such as {"plan": "gold"}')
    return doc
