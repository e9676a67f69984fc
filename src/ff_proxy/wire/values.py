"""JSON values that every reader and writer of this program can carry, made of whatever bytes come in.

Carried are null, booleans, integers of 64 bits, finite floats, text of whole characters, and lists and
objects of these, ``DEEPEST`` levels at most. What JSON allows beyond that becomes one of them here, the
way Go's decoder (a float64 for every number) would have it evaluated:

- an integer beyond 64 bits becomes a float, and ``-0`` a negative zero;
- a number that no float can hold, and NaN, is left out of an object and is null in a list;
- half a surrogate pair becomes U+FFFD;
- what is nested too deeply becomes null; of several members with one name the last counts.
"""

import json
import math
import re
from typing import Final

import msgspec

from ff_proxy.errors import MalformedJson
from ff_proxy.wire.text import clean_text

DEEPEST: Final = 100
"""Levels of lists and objects within each other; what lies deeper reads as null."""

REPAIRABLE_BYTES: Final = 200 * 1024
"""The longest text from a client that is read again, slowly, when it is not strict JSON."""

_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**64 - 1
_MOST_DIGITS: Final = 400  # more than any float has
# What a strict decoder reads and some writer here could not carry, or reads otherwise than Go.
_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")
_MINUS_ZERO: Final = re.compile(rb"[:\[,]\s*-0\s*[,}\]]")
# A NUL: where text is of two or four bytes a character, digits are not side by side.
_ODD_INTEGER: Final = re.compile(rb"-0|[0-9]{400}|\0")
_decode: Final = msgspec.json.Decoder().decode


def decode_json(data: bytes, *, repairable: int = REPAIRABLE_BYTES) -> object:
    """The value that ``data`` holds, cleaned.

    Beside strict JSON in UTF-8 this reads UTF-16 and UTF-32, a byte order mark, the surrogates that
    JavaScript writes, NaN and infinities, numbers of any size, and control characters in strings.

    Args:
        data: what came in.
        repairable: the longest ``data`` in bytes that is read if it is not strict JSON.

    Raises:
        MalformedJson: it is no JSON, or is nested too deeply for any reader here.
    """
    try:
        value = _decode(data)
    except RecursionError as error:
        raise MalformedJson("the JSON is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if len(data) > repairable:
            raise MalformedJson(f"not readable as JSON: {error}") from error
        return _repaired(data)
    if _MINUS_ZERO.search(data) is not None and len(data) <= repairable:
        return _repaired(data)
    if _LONG_NUMBER.search(data) is not None or data.count(b"[") + data.count(b"{") > DEEPEST:
        return clean(value)
    return value


def clean(value: object) -> object:
    """A decoded value (of JSON, or of YAML) as one that can be carried; of any other type: null."""
    cleaned = _clean(value, 0)
    return None if cleaned is _UNHELD else cleaned


def clean_object(value: object) -> dict[str, object]:
    """Each member of a JSON object as ``clean`` makes it; what is no object becomes an empty one."""
    return _clean_object(value, -1) if isinstance(value, dict) else {}


_UNHELD: Final = object()


def _clean(value: object, depth: int) -> object:  # noqa: PLR0911  (one line for each type)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return _clean_object(value, depth) if depth < DEEPEST else None
    if isinstance(value, list):
        return _clean_list(value, depth) if depth < DEEPEST else None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if _LOWEST <= value <= _HIGHEST else _as_float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _UNHELD
    return None


def _clean_object(value: dict[object, object], depth: int) -> dict[str, object]:
    parts = ((clean_text(str(name)), _clean(part, depth + 1)) for name, part in value.items())
    return {name: part for name, part in parts if part is not _UNHELD}


def _clean_list(value: list[object], depth: int) -> list[object]:
    parts = (_clean(part, depth + 1) for part in value)
    return [None if part is _UNHELD else part for part in parts]


def _as_float(number: int) -> object:
    try:
        return float(number)
    except OverflowError:
        return _UNHELD


def _repaired(data: bytes) -> object:
    cleaned = _clean(_decode_leniently(data), 0)
    if cleaned is _UNHELD:
        raise MalformedJson("not readable as JSON: a number that nothing can hold")
    return cleaned


def _decode_leniently(data: bytes) -> object:
    # A function called for every number takes longer than all the rest.
    whole = _integer if _ODD_INTEGER.search(data) is not None else None
    try:
        try:
            return json.loads(data, strict=False, parse_int=whole)
        except UnicodeDecodeError:
            # As Go reads it: a byte that is no UTF-8 is U+FFFD.
            return json.loads(data.decode("utf-8", "replace"), strict=False, parse_int=whole)
    except RecursionError as error:
        raise MalformedJson("the JSON is nested too deeply") from error
    except ValueError as error:
        raise MalformedJson(f"not readable as JSON: {error}") from error


def _integer(digits: str) -> float:
    if digits == "-0":
        return -0.0
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf
