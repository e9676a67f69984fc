"""A JSON object that arrives piece by piece, split into the elements of some of its arrays.

Nothing is kept but the element that is being waited for: neither what is too large nor what nobody wants
becomes an object. The work is linear in what arrives, however it is cut into pieces.
"""

import json
import re
from collections.abc import Collection
from enum import Enum, auto
from typing import Final, Protocol

from ff_proxy.errors import RequestError

MOST_DEPTH: Final = 1000
"""Values nested deeper than this make a document unreadable."""

_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_SCALAR: Final = r"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null|NaN|-?Infinity)"
_ONE_SCALAR: Final = re.compile(_SCALAR)
_WORD: Final = re.compile(r"[-+.0-9A-Za-z]++")
_SCALARS: Final = re.compile(rf"(?:{_SCALAR}[ \t\n\r]*+,[ \t\n\r]*+)++")
_IN_TEXT: Final = re.compile(r"[^\"\\]*+(?:\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4})[^\"\\]*+)*+")
_HALF_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_LONGEST_SCALAR: Final = 8 * 1024
_LONGEST_NAME: Final = 256
# Looking for the end of a value that has not arrived costs what is looked at: so much for each character that
# arrives, saved up to so many times the longest element.
_CREDIT: Final = 2
_MOST_PASSED_OVER: Final = 1024
_CLOSING: Final = {"{": "}", "[": "]"}
# Numbers are not worked out: one of thousands of digits is as good as any other.
_find_end: Final = json.JSONDecoder(strict=False, parse_int=float).raw_decode


class _Next(Enum):
    OBJECT = auto()
    NAME_OR_END = auto()
    NAME = auto()
    COLON = auto()
    VALUE = auto()
    VALUE_OR_END = auto()
    COMMA_OR_END = auto()
    NOTHING = auto()


class ElementSink(Protocol):
    """Takes the elements of an array that was asked for."""

    def offer(self, array: str, text: str) -> bool:
        """Take ``text`` if it is exactly one element as it should be; ``False`` if it is anything else."""
        ...

    def take(self, array: str, text: str) -> None:
        """Take ``text``, which is one object."""
        ...

    def unusable(self, array: str, elements: int) -> None:
        """So many elements are no objects, or too long; once for a whole value that is no array."""
        ...


class JsonPieces:
    """Reads one document.

    Args:
        arrays: members of the outermost object whose elements are wanted.
        longest: the most characters of an element that is handed on.
        sink: takes elements.

    ``feed`` and ``finish`` raise ``RequestError`` 400 if the document is no JSON object.
    """

    def __init__(self, arrays: Collection[str], longest: int, sink: ElementSink) -> None:
        self._arrays = arrays
        self._longest = longest
        self._sink = sink
        self._text = ""
        self._at = 0
        self._final = False
        self._next = _Next.OBJECT
        self._open: list[str] = []
        self._name: str | None = None
        self._array: str | None = None
        self._in_text = False
        self._credit = _CREDIT * longest
        self._guess_failed = 0
        self._pass_over = 0

    def feed(self, text: str) -> None:
        """The next piece: it should be no longer than a few tens of kilobytes."""
        self._text = self._text[self._at :] + text
        self._at = 0
        self._credit = min(self._credit + _CREDIT * len(text), _CREDIT * self._longest)
        self._read()

    def finish(self) -> None:
        """There is no more."""
        self._final = True
        self._read()
        if self._next is not _Next.NOTHING or self._in_text:
            raise _unreadable()

    def _read(self) -> None:
        text = self._text
        while True:
            if self._in_text:
                if not self._read_text():
                    return
                continue
            space = _SPACE.match(text, self._at)
            self._at = self._at if space is None else space.end()
            if self._at == len(text):
                return
            character = text[self._at]
            if self._next is _Next.VALUE or self._next is _Next.VALUE_OR_END:
                if not self._read_value(character):
                    return
            else:
                self._read_mark(character)

    def _read_mark(self, character: str) -> None:
        match self._next:
            case _Next.COMMA_OR_END if character == ",":
                self._at += 1
                self._next = _Next.NAME if self._open[-1] == "{" else _Next.VALUE
            case _Next.COMMA_OR_END:
                self._close(character)
            case _Next.COLON if character == ":":
                self._at += 1
                self._next = _Next.VALUE
            case _Next.NAME | _Next.NAME_OR_END if character == '"':
                self._at += 1
                self._name = ""
                self._in_text = True
            case _Next.NAME_OR_END if character == "}":
                self._close(character)
            case _Next.OBJECT if character == "{":
                self._descend(character)
            case _:
                raise _unreadable()

    def _read_text(self) -> bool:
        """Read on in a name or a text value; ``False`` if more has to arrive."""
        start = self._at
        found = _IN_TEXT.match(self._text, start)
        self._at = start if found is None else found.end()
        naming = self._next is not _Next.COMMA_OR_END
        if naming and len(self._open) == 1 and self._name is not None:
            read = self._name + self._text[start : self._at]
            self._name = read if len(read) <= _LONGEST_NAME else None
        if self._at == len(self._text):
            return False
        if self._text[self._at] == "\\":
            if self._final or _HALF_ESCAPE.fullmatch(self._text, self._at) is None:
                raise _unreadable()
            return False
        self._at += 1
        self._in_text = False
        if naming:
            self._next = _Next.COLON
            if self._name is not None and "\\" in self._name:
                self._name = json.loads(f'"{self._name}"', strict=False)
        return True

    def _read_value(self, character: str) -> bool:
        """Read a value or part of one; ``False`` if more has to arrive."""
        if character == "]" and self._next is _Next.VALUE_OR_END:
            self._close(character)
            return True
        if len(self._open) == 1 and self._name in self._arrays:
            if character == "[":
                self._array = self._name
                self._descend(character)
                return True
            if character not in "nN":  # null, or what some write for it
                self._sink.unusable(str(self._name), 1)
            self._name = None  # said once, even if its end has to be waited for
        if character in _CLOSING:
            return self._read_container(character)
        if character == '"':
            self._count_unusable(1)
            self._at += 1
            self._in_text = True
            self._next = _Next.COMMA_OR_END
            return True
        return self._read_scalars()

    def _read_container(self, character: str) -> bool:
        array, text, start = self._array if len(self._open) == 2 else None, self._text, self._at  # noqa: PLR2004
        if array is not None and character == "{" and self._guessed(array):
            return True
        found = self._end_of_value(array)
        if found is None:
            if not self._final and len(text) - start <= self._longest:
                return False
            self._count_unusable(1)
            self._descend(character)
            return True
        if array is not None:
            if character == "{" and found - start <= self._longest:
                self._sink.take(array, text[start:found])
            else:
                self._sink.unusable(array, 1)
        self._passed(found)
        return True

    def _guessed(self, array: str) -> bool:
        # Nearly every SDK ends an entry with its attributes. Where one does not, it is tried ever less often.
        if self._pass_over:
            self._pass_over -= 1
            return False
        end = self._text.find("]}", self._at, self._at + self._longest) + 2
        if end > self._at and self._sink.offer(array, self._text[self._at : end]):
            self._guess_failed = 0
            self._passed(end)
            return True
        self._guess_failed = min(2 * self._guess_failed + 1, _MOST_PASSED_OVER)
        self._pass_over = self._guess_failed
        return False

    def _end_of_value(self, array: str | None) -> int | None:
        rest = len(self._text) - self._at
        # Of an element that is wanted it must be known whether it is too long.
        needed = array is not None and (self._final or rest > self._longest)
        if self._credit < rest and not needed:
            return None
        try:
            _, end = _find_end(self._text, self._at)
        except (ValueError, RecursionError):
            self._credit -= rest
            return None
        return end

    def _read_scalars(self) -> bool:
        text, start = self._text, self._at
        if self._open[-1] == "[" and (many := _SCALARS.match(text, start)) is not None:
            self._count_unusable(text.count(",", start, many.end()))
            self._at = many.end()
            self._next = _Next.VALUE
            return True
        word = _WORD.match(text, start)
        if word is None or word.end() - start > _LONGEST_SCALAR:
            raise _unreadable()
        if word.end() == len(text) and not self._final:
            return False
        if _ONE_SCALAR.fullmatch(word[0]) is None:
            raise _unreadable()
        self._count_unusable(1)
        self._passed(word.end())
        return True

    def _count_unusable(self, elements: int) -> None:
        if self._array is not None and len(self._open) == 2:  # noqa: PLR2004  (its own elements)
            self._sink.unusable(self._array, elements)

    def _descend(self, character: str) -> None:
        if len(self._open) == MOST_DEPTH:
            raise _unreadable()
        self._open.append(character)
        self._at += 1
        self._next = _Next.NAME_OR_END if character == "{" else _Next.VALUE_OR_END

    def _close(self, character: str) -> None:
        if _CLOSING[self._open.pop()] != character:
            raise _unreadable()
        if len(self._open) == 1:
            self._array = None
        self._passed(self._at + 1)

    def _passed(self, end: int) -> None:
        self._at = end
        self._next = _Next.COMMA_OR_END if self._open else _Next.NOTHING


def _unreadable() -> RequestError:
    return RequestError(400, "the body is not a readable JSON object")
