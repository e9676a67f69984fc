"""Lenient reading of documents that people write: fix what is unambiguous, report the rest.

``normalise`` then turns the result into items that every SDK can read. It silently drops what it cannot use,
so everything it would drop is reported here first.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from ff_proxy.wire.shapes import (
    FLAG,
    FLAG_KINDS,
    MAX_INTEGER,
    OPERATORS,
    SEGMENT,
    TARGET,
    Field,
    Kind,
    Shape,
    exact_type,
)
from ff_proxy.wire.text import value_text

_EXACT_TYPES: Final = {shape.noun: exact_type(shape) for shape in (FLAG, SEGMENT, TARGET)}

Path = tuple[str | int, ...]
_Json = dict[str, object]

_NUMBER: Final = re.compile(r"\s*([-+]?[0-9]{1,19})(\.0*)?\s*%?\s*")
_YES: Final = frozenset({"true", "on", "yes", "enabled"})
_NO: Final = frozenset({"false", "off", "no", "disabled"})
_MIN_SIMILARITY: Final = 0.75
_MAX_QUOTED: Final = 40
_MAX_BITS: Final = 128


class Note(msgspec.Struct, frozen=True):
    """A problem in a document: where it is, what it is, and whether the value was dropped."""

    path: Path
    text: str
    left_out: bool

    @property
    def place(self) -> str:
        """The path as text: ``rules[0].serve``."""
        return "".join(f"[{item}]" if isinstance(item, int) else f".{item}" for item in self.path).lstrip(".")


class LenientReader:
    """Reads documents of one shape: ``FLAG``, ``SEGMENT`` or ``TARGET``."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._exact = _EXACT_TYPES[shape.noun]
        self._notes: list[Note] = []

    def read(self, document: object) -> tuple[object, tuple[Note, ...]]:
        """Return the document as its author meant it, and notes about its problems.

        A document that is not an object, or has no identifier, is returned unchanged.
        """
        try:
            msgspec.convert(document, self._exact)
        except (msgspec.ValidationError, RecursionError):
            pass  # the slow path finds out what is wrong
        else:
            return document, ()
        self._notes = []
        if not isinstance(document, dict) and not self._shape.text_fills:
            return document, ()
        read = self._object(self._shape, document, ())
        return (document if read is None else read), tuple(self._notes)

    def _object(self, shape: Shape, value: object, path: Path) -> _Json | None:
        if not isinstance(value, dict):
            text = _text(value)
            if text is None or not text or not shape.text_fills:
                self._drop(path, f"a {shape.noun} must be an object, not {_quote(value)}")
                return None
            value = dict.fromkeys(shape.text_fills, text)
        result = self._renamed(shape, value, path)
        for name, field in shape.fields.items():
            if result.get(name) is None:
                if field.if_absent:
                    self._warn(path, f"'{name}' is missing: {field.if_absent}")
                if field.identity and path:
                    self._drop(path, f"a {shape.noun} needs '{name}'")
                    return None
                continue
            read = self._field(field, result[name], (*path, name))
            if read is None:
                del result[name]
                if field.identity and path:
                    return None
            else:
                result[name] = read
        for warning in shape.check(result.get) if shape.check is not None else ():
            self._warn(path, warning)
        return result

    def _field(self, field: Field, value: object, path: Path) -> object | None:
        if field.kind is Kind.LIST_OF_SHAPE and field.shape is not None:
            entries = value if isinstance(value, list) else [value]
            read = (self._object(field.shape, entry, (*path, n)) for n, entry in enumerate(entries))
            return [item for item in read if item is not None]
        if field.kind is Kind.OBJECT_OF_SHAPE and field.shape is not None:
            return self._object(field.shape, value, path)
        if field.kind is Kind.TEXTS:
            return self._texts(value, path)
        reader, expected = _READERS[field.kind]
        converted = reader(value)
        if converted is None:
            self._drop(path, f"it must be {expected}, not {_quote(value)}")
        elif isinstance(value, float) and isinstance(converted, int) and converted != value:
            self._warn(path, f"it must be {expected}; {_quote(value)} counts as {converted}")
        elif field.kind is Kind.OPERATOR and converted not in OPERATORS:
            similar = difflib.get_close_matches(str(converted), OPERATORS, 1)
            hint = f"; did you mean {similar[0]!r}?" if similar else f"; there are {', '.join(OPERATORS)}"
            self._warn(path, f"there is no operator {_quote(value)}, so it never matches{hint}")
        return converted

    def _texts(self, value: object, path: Path) -> list[str]:
        texts = []
        for number, entry in enumerate(value if isinstance(value, list) else [value]):
            named = entry.get("identifier") if isinstance(entry, dict) else entry
            text = _text(named)
            if text is None:
                self._drop((*path, number), f"it must be a text, not {_quote(entry)}")
            else:
                texts.append(text)
        return texts

    def _renamed(self, shape: Shape, value: Mapping[str, object], path: Path) -> _Json:
        result: _Json = {}
        for name, part in value.items():
            if name in shape.fields:
                result[name] = part
                continue
            intended = _intended_field(tuple(shape.fields), name)
            if intended and _folded(intended) == _folded(name) and value.get(intended) is None:
                result.setdefault(intended, part)
                continue
            result[name] = part
            if intended and value.get(intended) is None:
                self._warn((*path, name), f"there is no such field; did you mean '{intended}'?")
            elif intended and _folded(intended) == _folded(name):
                self._warn((*path, name), f"it is ignored, because there is '{intended}'")
        return result

    def _drop(self, path: Path, text: str) -> None:
        self._notes.append(Note(path, text, left_out=True))

    def _warn(self, path: Path, text: str) -> None:
        self._notes.append(Note(path, text, left_out=False))


@lru_cache(maxsize=1000)
def _intended_field(known: tuple[str, ...], name: str) -> str:
    """The known field that most resembles an unknown one; empty if none does."""
    if len(name) > _MAX_QUOTED:
        return ""
    folded = {_folded(field): field for field in known}
    similar = difflib.get_close_matches(_folded(name), folded, 1, _MIN_SIMILARITY)
    return folded[similar[0]] if similar else ""


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return value_text(value) if abs(value) <= MAX_INTEGER else None
    return value_text(value) if isinstance(value, float) and math.isfinite(value) else None


def _value(value: object) -> str | None:
    if not isinstance(value, dict | list):
        return _text(value)
    try:
        return value_text(value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in {0, 1} else None
    word = value.strip().lower() if isinstance(value, str) else ""
    return True if word in _YES else (False if word in _NO else None)


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        number = _NUMBER.fullmatch(value)
        value = int(number[1]) if number is not None else None
    if isinstance(value, float):
        value = int(value) if math.isfinite(value) else None
    return value if isinstance(value, int) and abs(value) <= MAX_INTEGER else None


def _count(value: object) -> int | None:
    number = _integer(value)
    return number if number is not None and number >= 0 else None


def _state(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    on = _boolean(value)
    return None if on is None else ("on" if on else "off")


def _flag_kind(value: object) -> str | None:
    return FLAG_KINDS.get(value.strip().lower()) if isinstance(value, str) else None


def _operator(value: object) -> str | None:
    text = _text(value)
    if text is None:
        return None
    known = {_folded(item): item for item in OPERATORS}
    return known.get(_folded(text.strip()), text)


def _object(value: object) -> object | None:
    return value if isinstance(value, dict) else None


def _unchanged(value: object) -> object | None:
    return value


_READERS: Final[Mapping[Kind, tuple[Callable[[object], object | None], str]]] = {
    Kind.TEXT: (_text, "a text"),
    Kind.VALUE: (_value, "a JSON value"),
    Kind.BOOLEAN: (_boolean, "true or false"),
    Kind.INTEGER: (_integer, "a whole number"),
    Kind.COUNT: (_count, "a whole number of at least 0"),
    Kind.STATE: (_state, "on or off"),
    Kind.FLAG_KIND: (_flag_kind, "boolean, int, string or json"),
    Kind.OPERATOR: (_operator, "an operator"),
    Kind.OBJECT: (_object, "an object"),
    Kind.ANY: (_unchanged, "anything"),
}


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").replace(" ", "").lower()


def _quote(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return "a number of many digits"
    quoted = repr(value)
    return quoted if len(quoted) <= _MAX_QUOTED else quoted[:_MAX_QUOTED] + "…"
