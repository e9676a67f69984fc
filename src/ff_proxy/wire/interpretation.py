"""Reading what people write: what has one meaning is read as it, and everything else is reported.

``normalise`` makes items that no SDK stumbles over, and drops what is in the way; what comes out of here has
nothing in it that would be dropped.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping
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
_ALIKE: Final = 0.75
_REMEMBERED: Final = 1000
_SHOWN: Final = 40
_LONGEST: Final = 128


class Note(msgspec.Struct, frozen=True):
    """Something in a document that is not as it should be: where, in words, and whether it is left out."""

    path: Path
    text: str
    left_out: bool

    @property
    def place(self) -> str:
        """The path as people write it: ``rules[0].serve``."""
        return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in self.path).lstrip(".")


class Interpreter:
    """Reads documents of one shape: ``FLAG``, ``SEGMENT`` or ``TARGET``."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._exact = _EXACT_TYPES[shape.noun]
        self._meant: dict[tuple[str, str], str] = {}
        self._notes: list[Note] = []

    def read(self, document: object) -> tuple[object, tuple[Note, ...]]:
        """The document as it is meant, and notes about what is not as it should be.

        A document that is none at all, or does not say what it is about, is given back as it is.
        """
        try:
            msgspec.convert(document, self._exact)
        except (msgspec.ValidationError, RecursionError):
            pass  # a closer look is slow, and rarely needed
        else:
            return document, ()
        self._notes = []
        if not isinstance(document, dict) and not self._shape.text_is:
            return document, ()
        read = self._object(self._shape, document, ())
        return (document if read is None else read), tuple(self._notes)

    def _object(self, shape: Shape, value: object, path: Path) -> _Json | None:
        if not isinstance(value, dict):
            text = _text(value)
            if text is None or not text or not shape.text_is:
                self._left_out(path, f"a {shape.noun} must be an object, not {_shown(value)}")
                return None
            value = dict.fromkeys(shape.text_is, text)
        result = self._renamed(shape, value, path)
        for name, field in shape.fields.items():
            if result.get(name) is None:
                if field.absence:
                    self._odd(path, f"it has no '{name}', so {field.absence}")
                if field.identity and path:
                    self._left_out(path, f"a {shape.noun} needs '{name}'")
                    return None
                continue
            read = self._field(field, result[name], (*path, name))
            if read is None:
                del result[name]
                if field.identity and path:
                    return None
            else:
                result[name] = read
        for odd in shape.check(result.get) if shape.check is not None else ():
            self._odd(path, odd)
        return result

    def _field(self, field: Field, value: object, path: Path) -> object | None:
        if field.kind is Kind.MANY and field.shape is not None:
            entries = value if isinstance(value, list) else [value]
            read = (self._object(field.shape, entry, (*path, n)) for n, entry in enumerate(entries))
            return [one for one in read if one is not None]
        if field.kind is Kind.ONE and field.shape is not None:
            return self._object(field.shape, value, path)
        if field.kind is Kind.TEXTS:
            return self._texts(value, path)
        reader, wanted = _READERS[field.kind]
        made = reader(value)
        if made is None:
            self._left_out(path, f"it must be {wanted}, not {_shown(value)}")
        elif isinstance(value, float) and isinstance(made, int) and made != value:
            self._odd(path, f"it must be {wanted}; {_shown(value)} counts as {made}")
        elif field.kind is Kind.OPERATOR and made not in OPERATORS:
            near = difflib.get_close_matches(str(made), OPERATORS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(OPERATORS)}"
            self._odd(path, f"there is no operator {_shown(value)}, so it never matches{hint}")
        return made

    def _texts(self, value: object, path: Path) -> list[str]:
        texts = []
        for number, entry in enumerate(value if isinstance(value, list) else [value]):
            named = entry.get("identifier") if isinstance(entry, dict) else entry
            text = _text(named)
            if text is None:
                self._left_out((*path, number), f"it must be a text, not {_shown(entry)}")
            else:
                texts.append(text)
        return texts

    def _renamed(self, shape: Shape, value: Mapping[str, object], path: Path) -> _Json:
        result: _Json = {}
        for name, part in value.items():
            if name in shape.fields:
                result[name] = part
                continue
            meant = self._meaning(shape, name)
            if meant and _folded(meant) == _folded(name) and value.get(meant) is None:
                result.setdefault(meant, part)
                continue
            result[name] = part
            if meant and value.get(meant) is None:
                self._odd((*path, name), f"there is no such field; did you mean '{meant}'?")
            elif meant and _folded(meant) == _folded(name):
                self._odd((*path, name), f"it is ignored, because there is '{meant}'")
        return result

    def _meaning(self, shape: Shape, name: str) -> str:
        """The field that an unknown one may be meant for, if there is one like it."""
        known = self._meant.get((shape.noun, name))
        if known is not None:
            return known
        folded = {_folded(one): one for one in shape.fields}
        near = difflib.get_close_matches(_folded(name), folded, 1, _ALIKE) if len(name) <= _SHOWN else []
        meant = folded[near[0]] if near else ""
        if len(self._meant) < _REMEMBERED:
            self._meant[shape.noun, name] = meant
        return meant

    def _left_out(self, path: Path, text: str) -> None:
        self._notes.append(Note(path, text, left_out=True))

    def _odd(self, path: Path, text: str) -> None:
        self._notes.append(Note(path, text, left_out=False))


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
    known = {_folded(one): one for one in OPERATORS}
    return known.get(_folded(text.strip()), text)


def _object(value: object) -> object | None:
    return value if isinstance(value, dict) else None


def _as_it_is(value: object) -> object | None:
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
    Kind.ANY: (_as_it_is, "anything"),
}


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").replace(" ", "").lower()


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > _LONGEST:
        return "a number of many digits"
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
