"""What OpenFeature's remote evaluation protocol 0.3.0 says of answers and events, as JSON Schemas.

Written from the specification; more lenient than what the proxy says of itself in its OpenAPI document.
"""

import json
from typing import Any, Final

import jsonschema_rs

_Schema = dict[str, Any]

_METADATA: Final[_Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["boolean", "string", "number"]},
}
_SUCCESS: Final[_Schema] = {
    "type": "object",
    "properties": {
        "key": {"type": "string"},
        "reason": {"enum": ["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"]},
        "variant": {"type": "string"},
        "metadata": _METADATA,
        # Without a value, the application's default counts.
        "value": {"type": ["boolean", "string", "number", "object"]},
    },
    "not": {"required": ["errorCode"]},
}


def _failure(*codes: str, key: bool) -> _Schema:
    return {
        "type": "object",
        "required": ["key", "errorCode"] if key else ["errorCode"],
        "properties": {
            "key": {"type": "string"},
            "errorCode": {"enum": list(codes)},
            "errorDetails": {"type": "string"},
            "metadata": _METADATA,
        },
    }


_BAD: Final = ("PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "GENERAL")
_STREAM: Final[_Schema] = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string"},
        "url": {"type": "string"},
        "endpoint": {
            "type": "object",
            "required": ["requestUri"],
            "properties": {"origin": {"type": "string"}, "requestUri": {"type": "string"}},
        },
        "inactivityDelaySec": {"type": "integer", "minimum": 1},
    },
    "oneOf": [{"required": ["url"]}, {"required": ["endpoint"]}],
}
_LIST: Final[_Schema] = {
    "type": "object",
    "required": ["flags"],
    "properties": {
        "flags": {
            "type": "array",
            "items": {
                "oneOf": [
                    {**_SUCCESS, "required": ["key"]},
                    _failure(*_BAD, "FLAG_NOT_FOUND", key=True),
                ]
            },
        },
        "metadata": _METADATA,
        "eventStreams": {"type": "array", "items": _STREAM},
    },
}
_INTERNAL: Final[_Schema] = {"type": "object", "properties": {"errorDetails": {"type": "string"}}}

SINGLE: Final[dict[int, _Schema]] = {
    200: {**_SUCCESS, "required": ["key"]},
    400: _failure(*_BAD, key=True),
    404: _failure("FLAG_NOT_FOUND", key=True),
    500: _INTERNAL,
}
"""Bodies of the answers to one flag, by status; of others nothing is said."""

BULK: Final[dict[int, _Schema]] = {200: _LIST, 400: _failure(*_BAD, key=False), 500: _INTERNAL}
"""The same for all flags."""

EVENT: Final[_Schema] = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string"},
        "etag": {"type": "string"},
        "lastModified": {"type": ["string", "integer"]},
    },
}
"""The data of an event."""


def check(path: str, status: int, body: bytes) -> None:
    """Hold an answer to the protocol; raises ``jsonschema_rs.ValidationError``."""
    schemas = BULK if path.partition("?")[0].endswith("/evaluate/flags") else SINGLE
    if status in schemas:
        jsonschema_rs.validate(schemas[status], json.loads(body))
