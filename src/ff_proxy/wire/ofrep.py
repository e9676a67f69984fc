"""OFREP 0.3.0 on the wire: contexts that come in, evaluations, errors and event streams that go out.

See spec/behaviour#ofrep.
"""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from ff_proxy.errors import MalformedJson, RequestError
from ff_proxy.model.environment import Revision
from ff_proxy.model.evaluation import Evaluation, Reason
from ff_proxy.model.feature import Kind
from ff_proxy.model.target import Target
from ff_proxy.wire.values import clean_object, decode_json

INACTIVITY_SECONDS: Final = 120
"""How long a page may be in the background before its client may close the event stream."""

_BAD_REQUEST: Final = 400
_IDENTIFIER: Final = "targetingKey"
_REASONS: Final = {
    Reason.OFF: "DISABLED",
    Reason.PREREQUISITE: "DISABLED",
    Reason.TARGET_MAP: "TARGETING_MATCH",
    Reason.SEGMENT_MAP: "TARGETING_MATCH",
    Reason.RULE: "TARGETING_MATCH",
    Reason.RULE_DISTRIBUTION: "SPLIT",
    Reason.DISTRIBUTION: "SPLIT",
    Reason.DEFAULT: "STATIC",
}
_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="deterministic").encode


class ErrorCode(StrEnum):
    """The protocol's error codes."""

    PARSE_ERROR = "PARSE_ERROR"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    GENERAL = "GENERAL"


class OfrepError(RequestError):
    """A request that cannot be evaluated: status 400 with an error code, and the flag if it asks for one."""

    def __init__(self, code: ErrorCode, message: str, flag: str | None = None) -> None:
        super().__init__(_BAD_REQUEST, message)
        self.code: Final = code
        self.flag: Final = flag


class Context(msgspec.Struct, frozen=True):
    """An evaluation context: ``target`` is ``None`` without a targeting key.

    ``canonical`` is the same for equal contexts.
    """

    target: Target | None
    canonical: bytes


def read_context(body: bytes, flag: str | None = None) -> Context:
    """The body of both evaluation requests; raises ``OfrepError`` that names the ``flag`` asked for.

    ``targetingKey`` is the target's identifier, ``name`` its name, everything else its attributes;
    ``anonymous`` keeps it from being registered. Without a targeting key there is no target.
    """
    try:
        document = decode_json(body) if body.strip() else {}
    except MalformedJson as error:
        raise OfrepError(ErrorCode.PARSE_ERROR, f"the request body cannot be read: {error}", flag) from error
    if not isinstance(document, dict):
        raise OfrepError(ErrorCode.PARSE_ERROR, "the request body is not a JSON object", flag)
    context = document.get("context", {})
    if not isinstance(context, dict):
        raise OfrepError(ErrorCode.INVALID_CONTEXT, "context must be an object", flag)
    described = clean_object(context)
    identifier = described.get(_IDENTIFIER)
    if identifier is not None and not isinstance(identifier, str):
        raise OfrepError(ErrorCode.INVALID_CONTEXT, f"{_IDENTIFIER} must be a string", flag)
    canonical = _encode_sorted(described)
    if not identifier:
        return Context(None, canonical)
    name = described.get("name")
    return Context(
        Target(
            identifier,
            name if isinstance(name, str) else "",
            {key: value for key, value in described.items() if key not in {_IDENTIFIER, "name"}},
            anonymous=described.get("anonymous") is True,
        ),
        canonical,
    )


def success(evaluation: Evaluation, metadata: Mapping[str, bool | str | int]) -> bytes | None:
    """One flag's evaluation; ``None`` if the value is not of the flag's kind."""
    value = _typed(evaluation.kind, evaluation.value)
    if value is None:
        return None
    document = {
        "key": evaluation.flag,
        "reason": _REASONS.get(evaluation.reason, "UNKNOWN"),
        "variant": evaluation.variation,
        "value": msgspec.Raw(value),
        "metadata": {**metadata, "harnessReason": evaluation.reason.value},
    }
    return _encode(document)


def failure(flag: str, code: ErrorCode, detail: str) -> bytes:
    """The error of one flag."""
    return _encode({"key": flag, "errorCode": code.value, "errorDetails": detail})


def bulk(flags: Iterable[bytes], streams: str) -> bytes:
    """All flags; ``streams`` is the event stream's URL relative to this service, empty if there is none."""
    announced = b""
    if streams:
        stream = {
            "type": "sse",
            "endpoint": {"requestUri": streams},
            "inactivityDelaySec": INACTIVITY_SECONDS,
        }
        announced = b',"eventStreams":[%b]' % _encode(stream)
    return b'{"flags":[%b]%b}' % (b",".join(flags), announced)


def refused(code: ErrorCode, detail: str) -> bytes:
    """The error of a bulk request."""
    return _encode({"errorCode": code.value, "errorDetails": detail})


def revision_text(revision: Revision) -> str:
    """A revision as text, for events and hints."""
    return f"{revision.epoch}-{revision.counter}"


def refetch_record(revision: Revision) -> bytes:
    """The event that makes clients fetch their evaluations again."""
    identifier = revision_text(revision)
    data = _encode({"type": "refetchEvaluation", "etag": identifier})
    return b"event: message\nid: %b\ndata: %b\n\n" % (identifier.encode(), data)


def _typed(kind: str, text: str) -> bytes | None:
    """A value's text as JSON of its kind; ``None`` if it is not of that kind."""
    match kind:
        case Kind.BOOLEAN:
            return {"true": b"true", "false": b"false"}.get(text.strip().lower())
        case Kind.INT | "number":
            return _number(text)
        case Kind.JSON:
            return _json(text)
        case _:
            return _encode(text)


def _number(text: str) -> bytes | None:
    if "_" in text or not text.isascii():
        return None  # Python alone takes these for digits
    try:
        number: float = int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            return None
    if not math.isfinite(number):
        return None
    try:
        return _encode(number)
    except OverflowError:
        return _encode(float(number))


def _json(text: str) -> bytes | None:
    try:
        return _encode(decode_json(text.encode("utf-8", "surrogatepass")))
    except MalformedJson:
        return None
