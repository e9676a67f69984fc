"""The sandbox's own wire format: what it writes, and how it reads its documents for the engine.

The ``wire`` room is deliberately not used: a mistake there would be on both sides of every test, and no test
would find it.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from ff_proxy.model.environment import Change
from ff_proxy.model.evaluation import Evaluation
from ff_proxy.model.feature import (
    Clause,
    Distribution,
    FeatureConfig,
    Prerequisite,
    Segment,
    SegmentRule,
    Serve,
    ServingRule,
    Variation,
    VariationMap,
    WeightedVariation,
)
from ff_proxy.model.target import Target

HEARTBEAT: Final = b":\n\n"
"""An empty comment (spec/sdk-wire#stream-framing)."""

_Document = Mapping[str, Any]


def event_record(change: Change) -> bytes:
    """One SSE record as Harness writes it (spec/sdk-wire#events)."""
    data = json.dumps(
        {
            "event": change.action.value,
            "domain": change.domain.value,
            "identifier": change.identifier,
            "version": change.version,
        },
        separators=(",", ":"),
    )
    return b"event: *\ndata: " + data.encode("ascii") + b"\n\n"


def evaluation_document(evaluation: Evaluation) -> dict[str, str]:
    """The four fields of an evaluation (spec/sdk-wire#evaluations)."""
    return {
        "flag": evaluation.flag,
        "kind": evaluation.kind,
        "value": evaluation.value,
        "identifier": evaluation.variation,
    }


def flag_record(document: _Document) -> FeatureConfig:
    """A flag's document as the engine's record."""
    return FeatureConfig(
        identifier=document["feature"],
        kind=document.get("kind", ""),
        on=document.get("state") == "on",
        variations=tuple(
            Variation(variation["identifier"], str(variation.get("value", "")))
            for variation in document.get("variations") or ()
        ),
        off_variation=document.get("offVariation", ""),
        default_serve=_serve(document.get("defaultServe")),
        rules=tuple(
            ServingRule(rule.get("priority", 0), _clauses(rule), _serve(rule.get("serve")))
            for rule in document.get("rules") or ()
        ),
        variation_map=tuple(
            VariationMap(
                entry.get("variation", ""),
                tuple(target["identifier"] for target in entry.get("targets") or ()),
                tuple(entry.get("targetSegments") or ()),
            )
            for entry in document.get("variationToTargetMap") or ()
        ),
        prerequisites=tuple(
            Prerequisite(entry["feature"], tuple(entry.get("variations") or ()))
            for entry in document.get("prerequisites") or ()
        ),
        version=document["version"],
    )


def segment_record(document: _Document) -> Segment:
    """A segment's document as the engine's record."""
    return Segment(
        identifier=document["identifier"],
        included=frozenset(member["identifier"] for member in document.get("included") or ()),
        excluded=frozenset(member["identifier"] for member in document.get("excluded") or ()),
        rules=tuple(map(_clause, document.get("rules") or ())),
        serving_rules=tuple(
            SegmentRule(rule.get("priority", 0), _clauses(rule))
            for rule in document.get("servingRules") or ()
        ),
        version=document["version"],
    )


def target_record(document: object) -> Target | None:
    """A target's document as the engine's record; ``None`` if it has no identifier."""
    if not isinstance(document, dict):
        return None
    identifier = document.get("identifier")
    if not isinstance(identifier, str) or not identifier:
        return None
    attributes = document.get("attributes")
    return Target(
        identifier,
        str(document.get("name") or ""),
        attributes if isinstance(attributes, dict) else {},
        anonymous=document.get("anonymous") is True,
    )


def _serve(document: _Document | None) -> Serve:
    given = document or {}
    shares = given.get("distribution")
    if shares is None:
        return Serve(given.get("variation"))
    weighted = (WeightedVariation(one["variation"], one["weight"]) for one in shares.get("variations") or ())
    return Serve(given.get("variation"), Distribution(shares.get("bucketBy", ""), tuple(weighted)))


def _clauses(rule: _Document) -> tuple[Clause, ...]:
    return tuple(map(_clause, rule.get("clauses") or ()))


def _clause(document: _Document) -> Clause:
    values = tuple(map(str, document.get("values") or ()))
    return Clause(document.get("attribute", ""), document.get("op", ""), values)
