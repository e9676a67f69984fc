"""The differences that docs/compatibility.md lists and an SDK can see, under the same titles."""

import json
from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final


class Kind(Enum):
    """The kinds of questions that have different known differences."""

    UNKNOWN_KEY = "unknown key"
    MALFORMED = "malformed"
    FLAGS = "flags"
    GROUPS = "groups"
    EVALUATIONS = "evaluations"
    FOREIGN = "another environment"
    REFUSAL = "refusal"
    STREAM = "stream"
    STREAM_REFUSAL = "stream refusal"


class Title(StrEnum):
    """What docs/compatibility.md calls a difference."""

    FOREIGN = "a token of one environment used for another"
    UNKNOWN_KEY = "unknown SDK key at `/client/auth`"
    NOT_LOADED_KEY = "unknown key, not loaded yet"
    NOT_LOADED = "data of an environment that is not loaded yet"
    JSON_VALUE = "a JSON flag's `value` in evaluations"
    MALFORMED = "malformed JSON in a request"
    CLAIMS = "claims of tokens"
    STREAM_REFUSAL = "refusals on `/stream`"
    NO_VARIATION = "a flag that cannot be evaluated"
    STREAM_LOST = "Harness' stream is lost"
    STREAMING = "streaming"
    HEARTBEAT = "heartbeats"
    AND_RULES = "`and-rules`"
    FIELDS = "fields of flags and target groups that the Go proxy does not know (`tags`, …)"


# By what was asked: the status of the Go proxy (v1 or v2), ours, and the title.
_STATUSES: Final[Mapping[tuple[Kind, int, int], str]] = {
    (Kind.FOREIGN, 200, 403): Title.FOREIGN,
    (Kind.FOREIGN, 401, 403): Title.FOREIGN,
    (Kind.UNKNOWN_KEY, 401, 403): Title.UNKNOWN_KEY,
    (Kind.UNKNOWN_KEY, 401, 503): Title.NOT_LOADED_KEY,
    (Kind.MALFORMED, 500, 400): Title.MALFORMED,
    (Kind.FLAGS, 200, 502): Title.NOT_LOADED,
    (Kind.GROUPS, 200, 502): Title.NOT_LOADED,
    (Kind.EVALUATIONS, 200, 502): Title.NOT_LOADED,
    (Kind.EVALUATIONS, 500, 404): Title.NO_VARIATION,
    (Kind.STREAM, 503, 200): Title.STREAM_LOST,
    (Kind.STREAM, 501, 200): Title.STREAMING,
    (Kind.STREAM_REFUSAL, 404, 403): Title.STREAM_REFUSAL,
    (Kind.STREAM_REFUSAL, 401, 403): Title.STREAM_REFUSAL,
    (Kind.STREAM_REFUSAL, 503, 400): Title.STREAM_REFUSAL,
    (Kind.STREAM_REFUSAL, 503, 401): Title.STREAM_REFUSAL,
    (Kind.STREAM_REFUSAL, 503, 403): Title.STREAM_REFUSAL,
    (Kind.STREAM_REFUSAL, 501, 400): Title.STREAM_REFUSAL,
    (Kind.STREAM_REFUSAL, 501, 401): Title.STREAM_REFUSAL,
    (Kind.STREAM_REFUSAL, 501, 403): Title.STREAM_REFUSAL,
}
_KNOWN_FIELDS: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.FLAGS: frozenset(
        (
            *("defaultServe", "environment", "feature", "kind", "offVariation", "prerequisites", "project"),
            *("rules", "state", "variationToTargetMap", "variations", "version"),
        )
    ),
    Kind.GROUPS: frozenset(
        (
            *("identifier", "name", "environment", "createdAt", "modifiedAt", "included", "excluded"),
            *("rules", "version"),
        )
    ),
}
_SERVING_RULES: Final = "servingRules"


def status(kind: Kind, old: int, new: int) -> str:
    """The title of this difference of statuses; empty if it is not a known one."""
    return _STATUSES.get((kind, old, new), "")


def value(kind: Kind, place: str, old: object, new: object, bodies: tuple[object, object]) -> str:
    """The title of a difference at ``place`` of the ``bodies``; empty if it is not a known one."""
    if kind is Kind.EVALUATIONS:
        is_value = place.rpartition(".")[2] == "value" and _entry(place, bodies[1]).get("kind") == "json"
        return Title.JSON_VALUE if is_value and _same_json(old, new) else ""
    if kind is Kind.STREAM:
        return Title.HEARTBEAT if new == "heartbeat" else ""
    if kind not in _KNOWN_FIELDS:
        return ""
    top = _top_field(place)
    if kind is Kind.GROUPS and top in {_SERVING_RULES, "rules"} and _serves_rules(place, *bodies):
        return Title.AND_RULES
    return Title.FIELDS if old is None and top and top not in _KNOWN_FIELDS[kind] else ""


def _top_field(place: str) -> str:
    """The field of the flag or group that ``place`` is in; bodies are one of them, or a list."""
    inner = place[place.find("]") + 1 :].lstrip(".") if place.startswith("[") else place
    return inner.partition(".")[0].partition("[")[0]


def _entry(place: str, body: object) -> Mapping[str, object]:
    """The flag or group of ``body`` that ``place`` is in."""
    if isinstance(body, list):
        name = place[1 : place.find("]")]
        for entry in body:
            if isinstance(entry, Mapping) and name in {entry.get("identifier"), entry.get("flag")}:
                return entry
        return {}
    return body if isinstance(body, Mapping) else {}


def _serves_rules(place: str, old: object, new: object) -> bool:
    """Whether only the new proxy answers with serving rules instead of rules."""
    return bool(_entry(place, new).get(_SERVING_RULES)) and not _entry(place, old).get(_SERVING_RULES)


def _same_json(old: object, new: object) -> bool:
    """Whether both are the same JSON, the old one perhaps encoded twice."""
    try:
        was, now = json.loads(str(old)), json.loads(str(new))
        return bool(was == now or (isinstance(was, str) and json.loads(was) == now))
    except (ValueError, RecursionError):
        return False
