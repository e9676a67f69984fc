"""JSON values that every parser and encoder in the proxy supports, decoded from any bytes.

These are null, booleans, 64-bit integers, finite floats, text without lone surrogates, and lists and objects
of these, at most ``MAX_DEPTH`` levels deep. Any other JSON is converted so that it evaluates as it would
after Go's decoder, to which every number is a float64:

- an integer beyond 64 bits becomes a float, and ``-0`` a negative zero;
- a number too large for a float, and NaN, is dropped from an object and becomes null in a list;
- half a surrogate pair becomes U+FFFD;
- values nested too deeply become null; of several members with one name, the last wins.
"""

import json
import math
import re
from typing import Final

import msgspec

from ff_proxy.errors import MalformedJson
from ff_proxy.wire.text import clean_text

MAX_DEPTH: Final = 100
"""The deepest nesting of lists and objects; deeper values become null."""

MAX_LENIENT_BYTES: Final = 200 * 1024
"""The longest client body that is parsed again by the slow, lenient decoder if it is not strict JSON."""

_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**64 - 1
_MAX_DIGITS: Final = 400  # more than any float has
# Numbers that the strict decoder accepts but some encoder does not support, or that Go reads differently.
_LONG_NUMBER: Final = b"0" * 19
# Finding text is many times faster than matching a pattern.
_DIGITS_AS_ZEROS: Final = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_MINUS_ZERO: Final = re.compile(rb"[:\[,]\s*-0\s*[,}\]]")
# A NUL means UTF-16 or UTF-32, where digits are not adjacent bytes.
_ODD_INTEGER: Final = re.compile(rb"-0|[0-9]{400}|\0")
_decode: Final = msgspec.json.Decoder().decode


def decode_json(data: bytes, *, max_lenient_bytes: int = MAX_LENIENT_BYTES) -> object:
    """Decode and clean JSON.

    Besides strict JSON in UTF-8 it accepts UTF-16, UTF-32, a byte order mark, lone surrogates, NaN and
    infinities, numbers of any size, and control characters in strings.

    Args:
        data: the JSON.
        max_lenient_bytes: the longest ``data``, in bytes, that is parsed leniently.

    Raises:
        MalformedJson: it is not JSON, or is nested too deeply.
    """
    try:
        value = _decode(data)
    except RecursionError as error:
        raise MalformedJson("the JSON is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if len(data) > max_lenient_bytes:
            raise MalformedJson(f"not readable as JSON: {error}") from error
        return _decode_and_clean(data)
    if b"-0" in data and _MINUS_ZERO.search(data) is not None and len(data) <= max_lenient_bytes:
        return _decode_and_clean(data)
    if _LONG_NUMBER in data.translate(_DIGITS_AS_ZEROS) or data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        return clean(value)
    return value


def clean(value: object) -> object:
    """Convert a decoded JSON or YAML value to a supported one; a value of another type becomes null."""
    cleaned = _clean(value, 0)
    return None if cleaned is _UNREPRESENTABLE else cleaned


def clean_object(value: object) -> dict[str, object]:
    """``clean`` every member of an object; anything but an object becomes an empty one."""
    return _clean_object(value, -1) if isinstance(value, dict) else {}


_UNREPRESENTABLE: Final = object()


def _clean(value: object, depth: int) -> object:  # noqa: PLR0911  (one line for each type)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return _clean_object(value, depth) if depth < MAX_DEPTH else None
    if isinstance(value, list):
        return _clean_list(value, depth) if depth < MAX_DEPTH else None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if _MIN_INT <= value <= _MAX_INT else _as_float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _UNREPRESENTABLE
    return None


def _clean_object(value: dict[object, object], depth: int) -> dict[str, object]:
    parts = ((clean_text(str(name)), _clean(part, depth + 1)) for name, part in value.items())
    return {name: part for name, part in parts if part is not _UNREPRESENTABLE}


def _clean_list(value: list[object], depth: int) -> list[object]:
    parts = (_clean(part, depth + 1) for part in value)
    return [None if part is _UNREPRESENTABLE else part for part in parts]


def _as_float(number: int) -> object:
    try:
        return float(number)
    except OverflowError:
        return _UNREPRESENTABLE


def _decode_and_clean(data: bytes) -> object:
    cleaned = _clean(_decode_leniently(data), 0)
    if cleaned is _UNREPRESENTABLE:
        raise MalformedJson("not readable as JSON: a number is too large")
    return cleaned


def _decode_leniently(data: bytes) -> object:
    # Calling a function for every number would take longer than everything else.
    whole = _integer if _ODD_INTEGER.search(data) is not None else None
    try:
        try:
            return json.loads(data, strict=False, parse_int=whole)
        except UnicodeDecodeError:
            # As in Go, an invalid byte becomes U+FFFD.
            return json.loads(data.decode("utf-8", "replace"), strict=False, parse_int=whole)
    except RecursionError as error:
        raise MalformedJson("the JSON is nested too deeply") from error
    except ValueError as error:
        raise MalformedJson(f"not readable as JSON: {error}") from error


def _integer(digits: str) -> float:
    if digits == "-0":
        return -0.0
    return int(digits) if len(digits) <= _MAX_DIGITS else math.inf
