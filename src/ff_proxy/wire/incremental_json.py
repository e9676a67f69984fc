"""An incremental JSON parser that splits chosen arrays of one object into their elements.

It buffers only the current element and builds no objects from unwanted or oversized values. The work is
linear in the input, however it is chunked.
"""

import json
import re
from collections.abc import Collection
from enum import Enum, auto
from typing import Final, Protocol

from ff_proxy.errors import RequestError

MAX_DEPTH: Final = 1000
"""Values nested deeper than this make a document unreadable."""

_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_SCALAR: Final = r"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null|NaN|-?Infinity)"
_ONE_SCALAR: Final = re.compile(_SCALAR)
_WORD: Final = re.compile(r"[-+.0-9A-Za-z]++")
_SCALARS: Final = re.compile(rf"(?:{_SCALAR}[ \t\n\r]*+,[ \t\n\r]*+)++")
_STRING_PART: Final = re.compile(r"[^\"\\]*+(?:\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4})[^\"\\]*+)*+")
_HALF_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_MAX_SCALAR: Final = 8 * 1024
_MAX_NAME: Final = 256
# Scanning for the end of an incomplete value costs one credit per character. Each character that arrives
# earns this many, up to this many times the longest element.
_SCAN_CREDIT: Final = 2
_MAX_SKIPPED: Final = 1024
_CLOSING: Final = {"{": "}", "[": "]"}
# Numbers are parsed as floats, so thousands of digits cost little.
_raw_decode: Final = json.JSONDecoder(strict=False, parse_int=float).raw_decode


class _Next(Enum):
    OBJECT = auto()
    NAME_OR_END = auto()
    NAME = auto()
    COLON = auto()
    VALUE = auto()
    VALUE_OR_END = auto()
    COMMA_OR_END = auto()
    END = auto()


class ElementSink(Protocol):
    """Receives the elements of the wanted arrays."""

    def try_add(self, array: str, text: str) -> bool:
        """Add ``text`` if it is exactly one valid element; otherwise return ``False``."""
        ...

    def add(self, array: str, text: str) -> None:
        """Add ``text``, which is one object."""
        ...

    def count_unusable(self, elements: int) -> None:
        """Count elements that are not objects or too long; a wanted value that is no array counts once."""
        ...


class IncrementalJson:
    """Reads one document.

    Args:
        arrays: members of the outermost object whose elements the sink receives.
        max_element: the length of the longest element that is passed on, in characters.
        sink: receives the elements.

    ``feed`` and ``finish`` raise ``RequestError`` 400 if the document is not a JSON object.
    """

    def __init__(self, arrays: Collection[str], max_element: int, sink: ElementSink) -> None:
        self._arrays = arrays
        self._max_element = max_element
        self._sink = sink
        self._text = ""
        self._position = 0
        self._final = False
        self._next = _Next.OBJECT
        self._open: list[str] = []
        self._name: str | None = None
        self._array: str | None = None
        self._in_string = False
        self._scan_credit = _SCAN_CREDIT * max_element
        self._skip_after_failure = 0
        self._guesses_to_skip = 0

    def feed(self, text: str) -> None:
        """Parse the next piece, which should be at most a few tens of kilobytes."""
        self._text = self._text[self._position :] + text
        self._position = 0
        self._scan_credit = min(
            self._scan_credit + _SCAN_CREDIT * len(text), _SCAN_CREDIT * self._max_element
        )
        self._read()

    def finish(self) -> None:
        """Parse the end of the document."""
        self._final = True
        self._read()
        if self._next is not _Next.END or self._in_string:
            raise _unreadable()

    def _read(self) -> None:
        text = self._text
        while True:
            if self._in_string:
                if not self._read_string():
                    return
                continue
            space = _SPACE.match(text, self._position)
            self._position = self._position if space is None else space.end()
            if self._position == len(text):
                return
            character = text[self._position]
            if self._next is _Next.VALUE or self._next is _Next.VALUE_OR_END:
                if not self._read_value(character):
                    return
            else:
                self._read_punctuation(character)

    def _read_punctuation(self, character: str) -> None:
        match self._next:
            case _Next.COMMA_OR_END if character == ",":
                self._position += 1
                self._next = _Next.NAME if self._open[-1] == "{" else _Next.VALUE
            case _Next.COMMA_OR_END:
                self._close(character)
            case _Next.COLON if character == ":":
                self._position += 1
                self._next = _Next.VALUE
            case _Next.NAME | _Next.NAME_OR_END if character == '"':
                self._position += 1
                self._name = ""
                self._in_string = True
            case _Next.NAME_OR_END if character == "}":
                self._close(character)
            case _Next.OBJECT if character == "{":
                self._descend(character)
            case _:
                raise _unreadable()

    def _read_string(self) -> bool:
        """Continue a name or a string value; ``False`` if more input is needed."""
        start = self._position
        run = _STRING_PART.match(self._text, start)
        self._position = start if run is None else run.end()
        is_name = self._next is not _Next.COMMA_OR_END
        if is_name and len(self._open) == 1 and self._name is not None:
            read = self._name + self._text[start : self._position]
            self._name = read if len(read) <= _MAX_NAME else None
        if self._position == len(self._text):
            return False
        if self._text[self._position] == "\\":
            if self._final or _HALF_ESCAPE.fullmatch(self._text, self._position) is None:
                raise _unreadable()
            return False
        self._position += 1
        self._in_string = False
        if is_name:
            self._next = _Next.COLON
            if self._name is not None and "\\" in self._name:
                self._name = json.loads(f'"{self._name}"', strict=False)
        return True

    def _read_value(self, character: str) -> bool:
        """Read a value or part of one; ``False`` if more input is needed."""
        if character == "]" and self._next is _Next.VALUE_OR_END:
            self._close(character)
            return True
        if len(self._open) == 1 and self._name in self._arrays:
            if character == "[":
                self._array = self._name
                self._descend(character)
                return True
            if character not in "nN":  # null or NaN
                self._sink.count_unusable(1)
            self._name = None  # count it once, even if it is incomplete
        if character in _CLOSING:
            return self._read_container(character)
        if character == '"':
            self._count_unusable(1)
            self._position += 1
            self._in_string = True
            self._next = _Next.COMMA_OR_END
            return True
        return self._read_scalars()

    def _read_container(self, character: str) -> bool:
        array, text, start = self._array if len(self._open) == 2 else None, self._text, self._position  # noqa: PLR2004
        if array is not None and character == "{" and self._try_guess(array):
            return True
        end = self._end_of_value(array)
        if end is None:
            if not self._final and len(text) - start <= self._max_element:
                return False
            self._count_unusable(1)
            self._descend(character)
            return True
        if array is not None:
            if character == "{" and end - start <= self._max_element:
                self._sink.add(array, text[start:end])
            else:
                self._sink.count_unusable(1)
        self._skip_to(end)
        return True

    def _try_guess(self, array: str) -> bool:
        # Nearly every SDK ends an entry with its attributes, so guess that "]}" is its end. Back off after
        # misses.
        if self._guesses_to_skip:
            self._guesses_to_skip -= 1
            return False
        end = self._text.find("]}", self._position, self._position + self._max_element) + 2
        if end > self._position and self._sink.try_add(array, self._text[self._position : end]):
            self._skip_after_failure = 0
            self._skip_to(end)
            return True
        self._skip_after_failure = min(2 * self._skip_after_failure + 1, _MAX_SKIPPED)
        self._guesses_to_skip = self._skip_after_failure
        return False

    def _end_of_value(self, array: str | None) -> int | None:
        rest = len(self._text) - self._position
        # For a wanted element we must find out whether it is too long.
        must_find = array is not None and (self._final or rest > self._max_element)
        if self._scan_credit < rest and not must_find:
            return None
        try:
            _, end = _raw_decode(self._text, self._position)
        except (ValueError, RecursionError):
            self._scan_credit -= rest
            return None
        return end

    def _read_scalars(self) -> bool:
        text, start = self._text, self._position
        if self._open[-1] == "[" and (run := _SCALARS.match(text, start)) is not None:
            self._count_unusable(text.count(",", start, run.end()))
            self._position = run.end()
            self._next = _Next.VALUE
            return True
        word = _WORD.match(text, start)
        if word is None or word.end() - start > _MAX_SCALAR:
            raise _unreadable()
        if word.end() == len(text) and not self._final:
            return False
        if _ONE_SCALAR.fullmatch(word[0]) is None:
            raise _unreadable()
        self._count_unusable(1)
        self._skip_to(word.end())
        return True

    def _count_unusable(self, elements: int) -> None:
        if self._array is not None and len(self._open) == 2:  # noqa: PLR2004  (its own elements)
            self._sink.count_unusable(elements)

    def _descend(self, character: str) -> None:
        if len(self._open) == MAX_DEPTH:
            raise _unreadable()
        self._open.append(character)
        self._position += 1
        self._next = _Next.NAME_OR_END if character == "{" else _Next.VALUE_OR_END

    def _close(self, character: str) -> None:
        if _CLOSING[self._open.pop()] != character:
            raise _unreadable()
        if len(self._open) == 1:
            self._array = None
        self._skip_to(self._position + 1)

    def _skip_to(self, end: int) -> None:
        self._position = end
        self._next = _Next.COMMA_OR_END if self._open else _Next.END


def _unreadable() -> RequestError:
    return RequestError(400, "the body is not a readable JSON object")
