"""Reading flags, segments and targets off the wire into the records that the engine works on.

Reading is total: any JSON value gives a record. A missing field, or one of the wrong type, reads as the Go
SDK's zero value; numbers and booleans in place of text read as their JSON text; entries that are not objects
are dropped. One rule overrides leniency: bad input never makes a rule match more targets than it should. So
an unreadable clause stays and never matches, and a rule whose clauses are not a list is dropped.
"""

import math
from collections.abc import Callable
from typing import Final, TypeVar

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
from ff_proxy.wire.text import clean_text, value_text
from ff_proxy.wire.values import clean_object

_MAX_INT: Final = 2**63 - 1

_Doc = dict[object, object]
_Entry = TypeVar("_Entry")


def read_feature(doc: object) -> FeatureConfig:
    """Parse a flag's JSON object (spec/evaluation#one-flag)."""
    flag = _object(doc)
    return FeatureConfig(
        identifier=_text(flag.get("feature")),
        kind=_text(flag.get("kind")),
        on=flag.get("state") == "on",
        variations=_entries(flag.get("variations"), _variation),
        off_variation=_text(flag.get("offVariation")),
        default_serve=_serve(flag.get("defaultServe")),
        rules=_entries(flag.get("rules"), _serving_rule),
        variation_map=_entries(flag.get("variationToTargetMap"), _variation_map),
        prerequisites=_entries(flag.get("prerequisites"), _prerequisite),
        version=_integer(flag.get("version")),
    )


def read_segment(doc: object) -> Segment:
    """Parse a segment's JSON object, with either or both forms of rules (spec/evaluation#segments)."""
    segment = _object(doc)
    return Segment(
        identifier=_text(segment.get("identifier")),
        included=frozenset(_entries(segment.get("included"), _identifier)),
        excluded=frozenset(_entries(segment.get("excluded"), _identifier)),
        rules=_clauses(segment.get("rules")),
        serving_rules=_entries(segment.get("servingRules"), _segment_rule),
        version=_integer(segment.get("version")),
    )


def read_target(doc: object) -> Target | None:
    """Parse a target's JSON object; ``None`` if it is not an object or has no identifier."""
    if isinstance(doc, dict):
        doc = doc | {"attributes": clean_object(doc.get("attributes"))}
    return read_decoded_target(doc)


def read_decoded_target(doc: object) -> Target | None:
    """Like ``read_target`` for a value from ``decode_json``, whose attributes are clean already."""
    if not isinstance(doc, dict):
        return None
    identifier = doc.get("identifier")
    if not isinstance(identifier, str) or not identifier:
        return None
    attributes = doc.get("attributes")
    return Target(
        identifier=_text(identifier),
        name=_text(doc.get("name")),
        attributes=attributes if isinstance(attributes, dict) else {},
        anonymous=doc.get("anonymous") is True,
    )


def _object(field: object) -> _Doc:
    return field if isinstance(field, dict) else {}


def _entries(field: object, read: Callable[[_Doc], _Entry | None]) -> tuple[_Entry, ...]:
    if not isinstance(field, list):
        return ()
    entries = (read(entry) for entry in field if isinstance(entry, dict))
    return tuple(entry for entry in entries if entry is not None)


def _text(field: object) -> str:
    if isinstance(field, str):
        return clean_text(field)
    if isinstance(field, bool | int) or (isinstance(field, float) and math.isfinite(field)):
        return value_text(field) if abs(field) <= _MAX_INT else ""
    return ""


def _texts(field: object) -> tuple[str, ...]:
    return tuple(map(_text, field)) if isinstance(field, list) else ()


def _integer(field: object) -> int:
    if isinstance(field, bool) or not isinstance(field, int | float):
        return 0
    return int(field) if abs(field) <= _MAX_INT else 0


def _variation(entry: _Doc) -> Variation:
    return Variation(_text(entry.get("identifier")), _text(entry.get("value")))


def _serve(field: object) -> Serve:
    serve = _object(field)
    variation = serve.get("variation")
    distribution = serve.get("distribution")
    return Serve(
        variation=None if variation is None else _text(variation),
        distribution=_distribution(distribution) if isinstance(distribution, dict) else None,
    )


def _distribution(entry: _Doc) -> Distribution:
    return Distribution(_text(entry.get("bucketBy")), _entries(entry.get("variations"), _weighted))


def _weighted(entry: _Doc) -> WeightedVariation:
    return WeightedVariation(_text(entry.get("variation")), _integer(entry.get("weight")))


def _serving_rule(entry: _Doc) -> ServingRule | None:
    clauses = entry.get("clauses")
    if clauses is not None and not isinstance(clauses, list):
        return None
    return ServingRule(_integer(entry.get("priority")), _clauses(clauses), _serve(entry.get("serve")))


def _segment_rule(entry: _Doc) -> SegmentRule:
    return SegmentRule(_integer(entry.get("priority")), _clauses(entry.get("clauses")))


def _clauses(field: object) -> tuple[Clause, ...]:
    return tuple(map(_clause, map(_object, field))) if isinstance(field, list) else ()


def _clause(entry: _Doc) -> Clause:
    return Clause(_text(entry.get("attribute")), _text(entry.get("op")), _texts(entry.get("values")))


def _variation_map(entry: _Doc) -> VariationMap:
    return VariationMap(
        _text(entry.get("variation")),
        _entries(entry.get("targets"), _identifier),
        _texts(entry.get("targetSegments")),
    )


def _prerequisite(entry: _Doc) -> Prerequisite:
    return Prerequisite(_text(entry.get("feature")), _texts(entry.get("variations")))


def _identifier(entry: _Doc) -> str | None:
    identifier = entry.get("identifier", "")
    return _text(identifier) if isinstance(identifier, str) else None
