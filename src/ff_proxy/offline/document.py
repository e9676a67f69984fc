"""Reading one file, JSON or YAML, so that what is wrong with it is told with its place."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import yaml

from ff_proxy.errors import OfflineDataError
from ff_proxy.offline.layout import YAML_SUFFIXES
from ff_proxy.offline.problems import Problem, Severity
from ff_proxy.offline.yaml_value import YamlValues

_BOM: Final = b"\xef\xbb\xbf"
_DEEPEST: Final = 100
# What people write by hand is smaller than this, and may have a name twice.
_CAREFUL: Final = 2**16
# References may repeat what stands there once, within reason.
_LEAST_NODES: Final = 10_000
_NODES_PER_CHARACTER: Final = 10
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
    return _read_yaml(path, data) if path.suffix in YAML_SUFFIXES else _read_json(path, data)


def _read_json(path: Path, data: bytes) -> tuple[object, list[Problem]]:
    # Decoding is one step for the interpreter, and other threads wait until it is over.
    if _CAREFUL < len(data) <= _AT_ONCE:
        try:
            return msgspec.json.decode(data), []
        except (ValueError, RecursionError):
            pass  # the fast reader says neither line nor column, and takes nothing after the first value
    return _read_json_slowly(path, _text(path, data))


def _read_json_slowly(path: Path, text: str) -> tuple[object, list[Problem]]:
    start = _next(text, 0)
    if start == len(text):
        raise OfflineDataError(str(path), _EMPTY)
    names = _Names()
    hook = names.collect if len(text) <= _CAREFUL else None
    decode = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=hook).raw_decode
    problems: list[Problem] = []
    values: list[object] = []
    is_list = text[start] == "["
    end = start
    try:
        for value, begin, end in _values(text, start, decode, is_list=is_list):
            if begin < end:
                values.append(value)
            problems += (_twice(path, _place_at(text, begin), name) for name in names.twice())
    except json.JSONDecodeError as error:
        place = _place(error.lineno, error.colno)
        raise OfflineDataError(str(path), f"it is not JSON: {error.msg}", place=place) from error
    except ValueError as error:
        raise OfflineDataError(str(path), f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise OfflineDataError(str(path), _TOO_DEEP) from error
    rest = _next(text, end)
    if rest < len(text):
        more = "only the first value is read, and here is more"
        problems.append(Problem(Severity.WARNING, str(path), _place_at(text, rest), more))
    return values if is_list else values[0], problems


def entries_of_json(text: str) -> list[tuple[int, int]]:
    """Where the entries of a list in JSON begin and end; raises ``ValueError`` for what is none."""
    found = _values(text, _next(text, 0), json.JSONDecoder().raw_decode, is_list=True)
    return [(begin, end) for _, begin, end in found if begin < end]


def _values(
    text: str, start: int, decode: Callable[[str, int], tuple[object, int]], *, is_list: bool
) -> Iterator[tuple[object, int, int]]:
    """The value at ``start``, or the entries of the list there, each with where it begins and ends.

    At the end of a list comes a value of no length, where the list ends. Entry by entry, so that other
    threads get their turn in between.
    """
    if not is_list:
        value, end = decode(text, start)
        yield value, start, end
        return
    position = _next(text, start + 1)
    while not text.startswith("]", position):
        value, end = decode(text, position)
        yield value, position, end
        position = _next(text, end)
        if text.startswith(",", position):
            position = _next(text, position + 1)
            if text.startswith("]", position):
                raise json.JSONDecodeError("Expecting value", text, position)
        elif not text.startswith("]", position):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
    yield None, position + 1, position + 1


class _Names:
    """Notices names that an object has twice: JSON takes the last one without a word."""

    def __init__(self) -> None:
        self._twice: list[str] = []

    def collect(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            self._twice += sorted(name for name in made if names.count(name) > 1)
        return made

    def twice(self) -> list[str]:
        """Those noticed since this was asked last."""
        found, self._twice = self._twice, []
        return found


def _twice(path: Path, place: str, name: str) -> Problem:
    text = f"{name!r} is there more than once in one object; the last one is used"
    return Problem(Severity.WARNING, str(path), place, text)


def _next(text: str, position: int) -> int:
    """Where the next character is that is no white space."""
    found = _WHITE_SPACE.match(text, position)
    return position if found is None else found.end()


def _read_yaml(path: Path, data: bytes) -> tuple[object, list[Problem]]:
    text = _text(path, data)
    if not text.strip():
        # A file that is being written anew looks like this.
        raise OfflineDataError(str(path), _EMPTY)
    values = YamlValues(_LEAST_NODES + _NODES_PER_CHARACTER * len(text))
    loader = _YamlLoader(text)
    try:
        _check_depth(text)
        node = loader.get_node() if loader.check_node() else None
        value = None if node is None else values.of(node)
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
    problems = [_twice(path, _place(line + 1, column + 1), name) for line, column, name in values.twice]
    if more:
        text = "only the first document is read, and here are more"
        problems.append(Problem(Severity.WARNING, str(path), "", text))
    return value, problems


def yaml_root(text: str) -> yaml.Node | None:
    """The tree of a text that has been read before; raises ``yaml.YAMLError``."""
    _check_depth(text)
    root: yaml.Node | None = yaml.compose(text, Loader=_YamlLoader)
    return root


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
