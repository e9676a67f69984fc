"""Reading flags, segments and targets into the records that the engine works on."""

import math
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from ff_proxy.errors import MalformedJson
from ff_proxy.model.environment import Item
from ff_proxy.model.feature import (
    Clause,
    FeatureConfig,
    Prerequisite,
    Segment,
    SegmentRule,
    Serve,
    ServingRule,
    Variation,
    VariationMap,
)
from ff_proxy.model.target import Target
from ff_proxy.wire.normalise import Rejected, normalise_flag, normalise_segment
from ff_proxy.wire.text import clean_text, value_text
from ff_proxy.wire.values import clean_object, decode_json


class _Named(msgspec.Struct):
    identifier: str


class _VariationMap(msgspec.Struct, rename="camel"):
    variation: str
    targets: tuple[_Named, ...] = ()
    target_segments: tuple[str, ...] = ()


class _Flag(msgspec.Struct, rename="camel"):
    feature: str = ""
    kind: str = ""
    state: str = "off"
    variations: tuple[Variation, ...] = ()
    off_variation: str = ""
    default_serve: Serve = Serve()
    rules: tuple[ServingRule, ...] = ()
    variation_to_target_map: tuple[_VariationMap, ...] = ()
    prerequisites: tuple[Prerequisite, ...] = ()
    version: int = 0


class _Segment(msgspec.Struct, rename="camel"):
    identifier: str = ""
    included: tuple[_Named, ...] = ()
    excluded: tuple[_Named, ...] = ()
    rules: tuple[Clause, ...] = ()
    serving_rules: tuple[SegmentRule, ...] = ()
    version: int = 0


_MAX_INT: Final = 2**63 - 1
_decode_flag: Final = msgspec.json.Decoder(_Flag).decode
_decode_segment: Final = msgspec.json.Decoder(_Segment).decode
_Doc = TypeVar("_Doc", _Flag, _Segment)


def read_feature(wire: bytes) -> FeatureConfig:
    """The record of a flag's JSON (spec/evaluation#one-flag).

    Total: what ``normalise_flag`` did not write is normalised first, and reads as an empty flag if rejected.
    """
    flag = _read(wire, _decode_flag, normalise_flag, _Flag)
    return FeatureConfig(
        identifier=flag.feature,
        kind=flag.kind,
        on=flag.state == "on",
        variations=flag.variations,
        off_variation=flag.off_variation,
        default_serve=flag.default_serve,
        rules=flag.rules,
        variation_map=tuple(
            VariationMap(
                entry.variation, tuple(target.identifier for target in entry.targets), entry.target_segments
            )
            for entry in flag.variation_to_target_map
        ),
        prerequisites=flag.prerequisites,
        version=flag.version,
    )


def read_segment(wire: bytes) -> Segment:
    """The record of a segment's JSON, with either or both forms of rules (spec/evaluation#segments).

    Total, like ``read_feature``.
    """
    segment = _read(wire, _decode_segment, normalise_segment, _Segment)
    return Segment(
        identifier=segment.identifier,
        included=frozenset(target.identifier for target in segment.included),
        excluded=frozenset(target.identifier for target in segment.excluded),
        rules=segment.rules,
        serving_rules=segment.serving_rules,
        version=segment.version,
    )


def _read(
    wire: bytes,
    decode: Callable[[bytes], _Doc],
    normalise: Callable[[object], Item | Rejected],
    empty: Callable[[], _Doc],
) -> _Doc:
    try:
        return decode(wire)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # stored by something else: read it as from any source
    try:
        item = normalise(decode_json(wire))
    except MalformedJson:
        return empty()
    return decode(item.wire) if isinstance(item, Item) else empty()


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


def _text(field: object) -> str:
    if isinstance(field, str):
        return clean_text(field)
    if isinstance(field, bool | int) or (isinstance(field, float) and math.isfinite(field)):
        return value_text(field) if abs(field) <= _MAX_INT else ""
    return ""
