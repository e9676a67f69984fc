"""Turning whatever a source sends into items that every SDK can read (spec/sdk-wire#bodies).

Everything that Harness sent is kept, unknown fields included. A field is changed only if its absence, a null
or a wrong type would break an SDK. An item that cannot be repaired is ``Rejected``, so that one bad flag
never breaks a list.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from ff_proxy.model.environment import Domain, Item
from ff_proxy.wire.shapes import FLAG_KINDS
from ff_proxy.wire.text import value_text
from ff_proxy.wire.values import clean_object

Json = dict[str, object]

_MAX_INT: Final = 2**63 - 1
# Java and .NET read priorities and weights into 32 bits, and fail on a longer number.
_MAX_SHORT: Final = 2**31 - 1
# The Ruby SDK raises on a flag with fewer, which kills its poll thread.
_MIN_VARIATIONS: Final = 2
_TARGET_FIELDS: Final = ("identifier", "account", "org", "environment", "project", "name")

_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="deterministic").encode


class Rejected(msgspec.Struct, frozen=True):
    """An item that no SDK could read; ``identifier`` may be empty."""

    identifier: str
    problem: str


def normalise_flag(doc: object) -> Item | Rejected:
    """Normalise a flag from Harness or a file into the form that is stored and served."""
    if not isinstance(doc, dict):
        return Rejected("", "a flag must be an object")
    flag = _without_nulls(doc)
    identifier = flag.get("feature")
    if not isinstance(identifier, str) or not identifier:
        return Rejected("", "a flag needs a 'feature' that names it")
    variations = _variations(flag.get("variations"))
    if not variations:
        return Rejected(identifier, "a flag needs at least one variation with an identifier")
    kind = flag.get("kind")
    flag |= {
        "feature": identifier,
        "project": _text(flag.get("project")),
        "environment": _text(flag.get("environment")),
        "kind": FLAG_KINDS.get(kind.lower(), "string") if isinstance(kind, str) else "string",
        "state": "on" if flag.get("state") == "on" else "off",
        "variations": variations,
        "offVariation": _text(flag.get("offVariation")),
        "defaultServe": _serve(flag.get("defaultServe")),
        "rules": _objects(flag.get("rules"), _rule),
        "prerequisites": _objects(flag.get("prerequisites"), _prerequisite),
        "variationToTargetMap": _objects(flag.get("variationToTargetMap"), _variation_map),
        "version": _version(flag.get("version")),
    }
    return _item(Domain.FLAG, identifier, flag)


def normalise_segment(doc: object, legacy: object | None = None) -> Item | Rejected:
    """Normalise a segment into the form that is stored, with both ``rules`` and ``servingRules``.

    Args:
        doc: the segment as sent to a ``rules=v2`` caller, or as in a file.
        legacy: the same segment as sent to a caller without ``rules=v2``, if it was fetched.

    If the source has serving rules only, the legacy rules are derived from the first clause of each, as in
    the Go proxy (spec/behaviour#segment-forms); ``derives_legacy_rules`` tells whether they are.
    """
    if not isinstance(doc, dict):
        return Rejected("", "a segment must be an object")
    segment = _without_nulls(doc)
    identifier = segment.get("identifier")
    if not isinstance(identifier, str) or not identifier:
        return Rejected("", "a segment needs an 'identifier'")
    serving = _objects(segment.get("servingRules"), _segment_rule)
    rules = _objects(segment.get("rules"), _clause)
    if not rules:
        rules = _objects(clean_object(legacy).get("rules"), _clause)
    if not rules and serving:
        rules = [clauses[0] for group in serving if isinstance(clauses := group["clauses"], list) and clauses]
    segment |= {
        "identifier": identifier,
        "name": _text(segment.get("name")) or identifier,
        "tags": _objects(segment.get("tags"), _tag),
        "included": _objects(segment.get("included"), _member),
        "excluded": _objects(segment.get("excluded"), _member),
        "rules": rules,
        "servingRules": serving,
        "version": _version(segment.get("version")),
    }
    if "environment" in segment:
        segment["environment"] = _text(segment["environment"])
    segment = _typed(segment, createdAt=_time, modifiedAt=_time)
    return _item(Domain.SEGMENT, identifier, segment)


def derives_legacy_rules(doc: object, legacy: object | None = None) -> bool:
    """Whether ``normalise_segment`` derives legacy rules for this source, which deserves one warning."""
    if not isinstance(doc, dict) or not doc.get("servingRules"):
        return False
    return not doc.get("rules") and not (isinstance(legacy, dict) and legacy.get("rules"))


def segment_forms(wire: bytes) -> tuple[bytes, bytes]:
    """A stored segment's JSON for a caller without ``rules=v2``, and for one with it.

    With ``rules=v2``: ``servingRules`` if there are any, else ``rules``. Otherwise: ``rules``. See
    spec/behaviour#endpoints.
    """
    doc: Json = msgspec.json.decode(wire)
    serving = doc.pop("servingRules", [])
    legacy = _encode(doc)
    if not serving:
        return legacy, legacy
    del doc["rules"]
    doc["servingRules"] = serving
    return legacy, _encode(doc)


def with_version(item: Item, version: int) -> Item:
    """The same content with another version."""
    if item.version == version:
        return item
    doc: Json = msgspec.json.decode(item.wire)
    doc["version"] = version
    return Item(item.domain, item.identifier, version, _encode(doc), item.digest)


def _item(domain: Domain, identifier: str, doc: Json) -> Item:
    version = doc.pop("version")
    assert isinstance(version, int)  # noqa: S101  (_version made it)
    digest = hashlib.sha256(_encode_sorted(doc)).hexdigest()[:32]
    doc["version"] = version
    return Item(domain, identifier, version, _encode(doc), digest)


def _without_nulls(doc: Json) -> Json:
    return {name: field for name, field in clean_object(doc).items() if field is not None}


def _objects(field: object, read: Callable[[Json], Json | None]) -> list[Json]:
    if not isinstance(field, list):
        return []
    entries = (
        read({k: v for k, v in entry.items() if v is not None}) for entry in field if isinstance(entry, dict)
    )
    return [entry for entry in entries if entry is not None]


def _text(field: object) -> str:
    return field if isinstance(field, str) else ""


def _texts(field: object) -> list[str]:
    return [value_text(entry) for entry in field if entry is not None] if isinstance(field, list) else []


def _typed(entry: Json, **readers: Callable[[object], object | None]) -> Json:
    """The entry with these optional fields of the right type: typed SDKs fail on a list that has a wrong one.

    A reader returns ``None`` for a value that cannot be converted; the field is then left out.
    """
    read = {name: reader(entry[name]) for name, reader in readers.items() if name in entry}
    if all(part is entry[name] for name, part in read.items()):
        return entry
    return {name: part for name, part in (entry | read).items() if read.get(name, part) is not None}


def _label(field: object) -> str | None:
    return value_text(field) if isinstance(field, str | bool | int | float) else None


def _time(field: object) -> int | None:
    return _integer(field) or None


def _truth(field: object) -> bool | None:
    return field if isinstance(field, bool) else None


def _object(field: object) -> Json | None:
    return field if isinstance(field, dict) else None


def _groups(field: object) -> list[Json] | None:
    groups = _objects(field, _tag)
    return groups if groups == field else None


def _short(field: object) -> int:
    return max(-_MAX_SHORT, min(_integer(field), _MAX_SHORT))


def _integer(field: object) -> int:
    if isinstance(field, bool):
        return 0
    if isinstance(field, float):
        return int(field) if abs(field) <= _MAX_INT else 0
    return field if isinstance(field, int) and abs(field) <= _MAX_INT else 0


def _version(field: object) -> int:
    return max(0, _integer(field))


def _variations(field: object) -> list[Json]:
    variations = _objects(field, _variation)
    while 0 < len(variations) < _MIN_VARIATIONS:
        variations.append(dict(variations[0]))
    return variations


def _variation(entry: Json) -> Json | None:
    identifier = entry.get("identifier")
    if not isinstance(identifier, str) or not identifier:
        return None
    variation = entry | {"identifier": identifier, "value": value_text(entry.get("value", ""))}
    return _typed(variation, name=_label, description=_label)


def _serve(field: object) -> Json:
    if not isinstance(field, dict):
        return {}
    serve: Json = {name: part for name, part in field.items() if part is not None}
    if not isinstance(serve.get("variation", ""), str):
        del serve["variation"]
    distribution = serve.pop("distribution", None)
    if isinstance(distribution, dict):
        serve["distribution"] = {name: part for name, part in distribution.items() if part is not None} | {
            "bucketBy": _text(distribution.get("bucketBy")),
            "variations": _objects(distribution.get("variations"), _weighted),
        }
    return serve


def _weighted(entry: Json) -> Json | None:
    return entry | {"variation": _text(entry.get("variation")), "weight": _short(entry.get("weight"))}


def _rule(entry: Json) -> Json | None:
    clauses = _clauses(entry.get("clauses", []))
    if clauses is None:
        return None
    return _typed(entry, ruleId=_label) | {
        "priority": _short(entry.get("priority")),
        "clauses": clauses,
        "serve": _serve(entry.get("serve")),
    }


def _segment_rule(entry: Json) -> Json | None:
    clauses = _clauses(entry.get("clauses", []))
    if clauses is None:
        return None
    return entry | {
        "ruleId": _label(entry.get("ruleId")) or "",
        "priority": _short(entry.get("priority")),
        "clauses": clauses,
    }


def _clauses(field: object) -> list[Json] | None:
    """The clauses of one rule, or ``None`` if they are not a list.

    A rule that loses a clause matches more targets, and a rule without clauses matches everybody. So an
    unreadable clause stays and never matches, and a rule whose clauses are not a list is dropped.
    """
    if not isinstance(field, list):
        return None
    return [_clause(entry if isinstance(entry, dict) else {}) for entry in field]


def _clause(entry: Json) -> Json:
    kept = {name: part for name, part in entry.items() if part is not None}
    return _typed(kept, id=_label) | {
        "attribute": _text(entry.get("attribute")),
        "op": _text(entry.get("op")),
        "negate": entry.get("negate") is True,
        "values": _texts(entry.get("values")),
    }


def _prerequisite(entry: Json) -> Json | None:
    feature = entry.get("feature")
    if not isinstance(feature, str) or not feature:
        return None
    return entry | {"feature": feature, "variations": _texts(entry.get("variations"))}


def _variation_map(entry: Json) -> Json | None:
    made = entry | {"variation": _text(entry.get("variation"))}
    if "targets" in entry:
        made["targets"] = _objects(entry["targets"], _named)
    if "targetSegments" in entry:
        made["targetSegments"] = _texts(entry["targetSegments"])
    return made


def _named(entry: Json) -> Json | None:
    identifier = entry.get("identifier")
    if not isinstance(identifier, str):
        return None
    return entry | {"identifier": identifier, "name": _text(entry.get("name")) or identifier}


def _tag(entry: Json) -> Json | None:
    identifier = _text(entry.get("identifier")) or _text(entry.get("name"))
    return (
        entry | {"identifier": identifier, "name": _text(entry.get("name")) or identifier}
        if identifier
        else None
    )


def _member(entry: Json) -> Json | None:
    identifier = entry.get("identifier")
    if not isinstance(identifier, str):
        return None
    member = entry | {field: _text(entry.get(field)) for field in _TARGET_FIELDS}
    member["name"] = member["name"] or identifier
    return _typed(member, attributes=_object, anonymous=_truth, createdAt=_time, segments=_groups)
