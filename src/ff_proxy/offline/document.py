"""Reading one file, JSON or YAML, so that what is wrong with it is told with its place."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import yaml

from ff_proxy.errors import OfflineDataError
from ff_proxy.offline.problems import Problem, Severity
from ff_proxy.offline.yaml_value import to_json

_BOM: Final = b"\xef\xbb\xbf"
_DEEPEST: Final = 100
_AT_ONCE: Final = 2**20
_WHITE_SPACE: Final = re.compile(r"[ \t\n\r]*")
_EMPTY: Final = "it is empty; an empty list is written []"
_TOO_DEEP: Final = "it is nested too deeply"
# The C parser is not in every build of PyYAML; the other one is slow, and right as well.
_YamlLoader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_document(path: Path, data: bytes) -> tuple[object, list[Problem]]:
    """The first value in a file's content, and warnings.

    Only the first value counts, as for the Go proxy; more after it is a warning.
    Raises ``OfflineDataError`` if it is not what the file's name says.
    """
    data = data.removeprefix(_BOM)
    return _read_yaml(path, data) if path.suffix in {".yaml", ".yml"} else _read_json(path, data)


def _read_json(path: Path, data: bytes) -> tuple[object, list[Problem]]:
    # Decoding is one step for the interpreter, and other threads wait until it is over.
    if len(data) <= _AT_ONCE:
        try:
            return msgspec.json.decode(data), []
        except (ValueError, RecursionError):
            pass  # the fast reader says neither line nor column, and takes nothing after the first value
    return _read_json_slowly(path, _text(path, data))


def _read_json_slowly(path: Path, text: str) -> tuple[object, list[Problem]]:
    start = _next(text, 0)
    if start == len(text):
        raise OfflineDataError(str(path), _EMPTY)
    decode = json.JSONDecoder(parse_constant=_refuse).raw_decode
    try:
        value, end = _decode_list(text, start, decode) if text[start] == "[" else decode(text, start)
    except json.JSONDecodeError as error:
        place = _place(error.lineno, error.colno)
        raise OfflineDataError(str(path), f"it is not JSON: {error.msg}", place=place) from error
    except ValueError as error:
        raise OfflineDataError(str(path), f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise OfflineDataError(str(path), _TOO_DEEP) from error
    rest = _next(text, end)
    if rest == len(text):
        return value, []
    place = _place_at(text, rest)
    return value, [
        Problem(Severity.WARNING, str(path), place, "only the first value is read, and here is more")
    ]


def _decode_list(
    text: str, start: int, decode: Callable[[str, int], tuple[object, int]]
) -> tuple[list[object], int]:
    """A list, entry by entry, so that other threads get their turn in between."""
    values: list[object] = []
    position = _next(text, start + 1)
    if text.startswith("]", position):
        return values, position + 1
    while True:
        value, position = decode(text, position)
        values.append(value)
        position = _next(text, position)
        if text.startswith("]", position):
            return values, position + 1
        if not text.startswith(",", position):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
        position = _next(text, position + 1)


def _next(text: str, position: int) -> int:
    """Where the next character is that is no white space."""
    found = _WHITE_SPACE.match(text, position)
    return position if found is None else found.end()


def _read_yaml(path: Path, data: bytes) -> tuple[object, list[Problem]]:
    text = _text(path, data)
    loader = _YamlLoader(text)
    try:
        _check_depth(text)
        node = loader.get_node() if loader.check_node() else None
        value = None if node is None else to_json(node)
        more = loader.check_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = _place(mark.line + 1, mark.column + 1) if mark is not None else None
        raise OfflineDataError(
            str(path), f"it is not YAML: {error.problem or error.context}", place=place
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise OfflineDataError(str(path), f"it is not YAML: {error}") from error
    except RecursionError as error:
        raise OfflineDataError(str(path), _TOO_DEEP) from error
    finally:
        loader.dispose()
    if not text.strip():
        # A file that is being written anew looks like this.
        raise OfflineDataError(str(path), _EMPTY)
    if not more:
        return value, []
    return value, [
        Problem(Severity.WARNING, str(path), "", "only the first document is read, and here are more")
    ]


def _check_depth(text: str) -> None:
    # The C composer calls itself for every level: too many would end the process, not the reading.
    depth = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise RecursionError
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise OfflineDataError(str(path), "it is not UTF-8", place=_place_at(before, len(before))) from error


def _place(line: int, column: int) -> str:
    return f"line {line} column {column}"


def _place_at(text: str, position: int) -> str:
    return _place(text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON value")
