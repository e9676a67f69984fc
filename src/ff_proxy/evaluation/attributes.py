"""Attribute values as the text that clauses and buckets see (spec/evaluation#attributes)."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from ff_proxy.wire.evaluation import json_string
from ff_proxy.wire.text import clean_text

NULL_TEXT: Final = "<nil>"
"""The text of a null attribute, as the reference implementation prints it; clauses can match it."""

_MAX_DEPTH: Final = 100
"""The deepest nesting that is read; deeper values read as null, so that none overflows the stack."""

_EXPONENT_BELOW: Final = -4
_EXPONENT_FROM: Final = 6
_JSON_SMALL: Final = 1e-6
_JSON_LARGE: Final = 1e21


def attribute_text(value: object) -> str:
    """The text of a custom attribute's JSON value; ``""`` for a number that a float64 cannot hold."""
    if isinstance(value, Mapping):
        return _json(value, 0)
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = _float64(value)
        return "" if number is None else _positional(number)
    return _go_text(value, 0)


def utf8(text: str) -> bytes:
    """Encode text in UTF-8; a lone surrogate, which UTF-8 cannot encode, becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return clean_text(text).encode()


def fold(text: str) -> str:
    """Replace each character by one that represents all its cases (spec/evaluation#operators).

    ``casefold`` of the whole text changes its length and makes ``straße`` equal ``STRASSE``; ``lower`` keeps
    ``ς`` and ``Σ`` different.
    """
    return text.lower() if text.isascii() else "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


def _float64(number: float) -> float | None:
    """The number as a finite float64, or ``None``."""
    try:
        number = float(number)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _positional(number: float) -> str:
    """The shortest digits that parse back to the same number, without an exponent: ``1``, ``2.5``, ``-0``."""
    return format(Decimal(repr(number)), "f").removesuffix(".0")


def _exponential(number: float) -> str:
    """The shortest digits with an exponent of at least two: ``1.5e+06``, ``1e-07``."""
    sign, digits, scale = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(scale, int)  # noqa: S101  (finite, so never 'F' or 'N')
    fraction = "".join(map(str, digits[1:]))
    exponent = scale + len(digits) - 1
    return f"{'-' if sign else ''}{digits[0]}{'.' if fraction else ''}{fraction}e{exponent:+03d}"


def _go_text(value: object, depth: int) -> str:
    """A value as Go's ``%v`` prints it, which is how values in a list read."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return _go_number(value)
    if depth < _MAX_DEPTH and isinstance(value, list):
        return _list_text(value, depth)
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        entries = sorted((str(name), entry) for name, entry in value.items())
        return f"map[{' '.join(f'{name}:{_go_text(entry, depth + 1)}' for name, entry in entries)}]"
    return NULL_TEXT


def _list_text(values: list[object], depth: int) -> str:
    return f"[{' '.join(_go_text(value, depth + 1) for value in values)}]"


def _go_number(value: float) -> str:
    number = _float64(value)
    if number is None:
        return NULL_TEXT
    if number and not _EXPONENT_BELOW <= Decimal(repr(number)).adjusted() < _EXPONENT_FROM:
        return _exponential(number)
    return _positional(number)


def _json(value: object, depth: int) -> str:
    """A value inside an object, as compact JSON with sorted keys."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json_string(value)
    if isinstance(value, int | float):
        return _json_number(value)
    if depth < _MAX_DEPTH and isinstance(value, list):
        return f"[{','.join(_json(entry, depth + 1) for entry in value)}]"
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        entries = sorted((str(name), entry) for name, entry in value.items())
        return f"{{{','.join(f'{json_string(name)}:{_json(entry, depth + 1)}' for name, entry in entries)}}}"
    return "null"


def _json_number(value: float) -> str:
    number = _float64(value)
    if number is None:
        return "null"
    if number and not _JSON_SMALL <= abs(number) < _JSON_LARGE:
        return _exponential(number)
    return _positional(number)
