"""Reading one JSON or YAML file, with the line and column of every problem."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import yaml

from ff_proxy.errors import OfflineDataError
from ff_proxy.offline.layout import YAML_SUFFIXES
from ff_proxy.offline.problems import Problem, Severity
from ff_proxy.offline.yaml_value import YamlValues

_BOM: Final = b"\xef\xbb\xbf"
_MAX_DEPTH: Final = 100
# Larger files are not written by hand, so they are not checked for duplicate names.
_MAX_CHECKED: Final = 2**16
# Aliases may repeat content, within reason.
_MIN_NODES: Final = 10_000
_NODES_PER_CHARACTER: Final = 10
_WHITE_SPACE: Final = re.compile(r"[ \t\n\r]*")
_EMPTY_FILE: Final = "it is empty; an empty list is written []"
_TOO_DEEP: Final = "it is nested too deeply"
# Some builds of PyYAML lack the C parser; the Python one is correct but slow.
_YamlLoader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_document(path: Path, data: bytes) -> tuple[object, list[Problem]]:
    """The first value in a file, and warnings.

    Only the first value counts, as in the Go proxy; anything after it gives a warning.
    Raises ``OfflineDataError`` if the content does not match the suffix.
    """
    data = data.removeprefix(_BOM)
    return _read_yaml(path, data) if path.suffix in YAML_SUFFIXES else _read_json(path, data)


def _read_json(path: Path, data: bytes) -> tuple[object, list[Problem]]:
    text = _text(path, data)
    start = _skip_space(text, 0)
    if start == len(text):
        raise OfflineDataError(str(path), _EMPTY_FILE)
    names = _DuplicateNames()
    hook = names.collect if len(text) <= _MAX_CHECKED else None
    decode = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=hook).raw_decode
    problems: list[Problem] = []
    values: list[object] = []
    is_list = text[start] == "["
    end = start
    try:
        for value, begin, end in _values(text, start, decode, is_list=is_list):
            if begin < end:
                values.append(value)
            problems += (_duplicates(path, _place_at(text, begin), name) for name in names.take_duplicates())
    except json.JSONDecodeError as error:
        place = _place(error.lineno, error.colno)
        raise OfflineDataError(str(path), f"it is not JSON: {error.msg}", place=place) from error
    except ValueError as error:
        raise OfflineDataError(str(path), f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise OfflineDataError(str(path), _TOO_DEEP) from error
    rest = _skip_space(text, end)
    if rest < len(text):
        more = "only the first value is read, but there is more"
        problems.append(Problem(Severity.WARNING, str(path), _place_at(text, rest), more))
    return values if is_list else values[0], problems


def entries_of_json(text: str) -> list[tuple[int, int]]:
    """The start and end of each entry of a JSON list; raises ``ValueError`` for anything else."""
    found = _values(text, _skip_space(text, 0), json.JSONDecoder().raw_decode, is_list=True)
    return [(begin, end) for _, begin, end in found if begin < end]


def _values(
    text: str, start: int, decode: Callable[[str, int], tuple[object, int]], *, is_list: bool
) -> Iterator[tuple[object, int, int]]:
    """The value at ``start``, or the entries of the list there, each with its start and end.

    An empty value marks the end of a list. Decoding entry by entry lets other threads run in between.
    """
    if not is_list:
        value, end = decode(text, start)
        yield value, start, end
        return
    position = _skip_space(text, start + 1)
    while not text.startswith("]", position):
        value, end = decode(text, position)
        yield value, position, end
        position = _skip_space(text, end)
        if text.startswith(",", position):
            position = _skip_space(text, position + 1)
            if text.startswith("]", position):
                raise json.JSONDecodeError("Expecting value", text, position)
        elif not text.startswith("]", position):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
    yield None, position + 1, position + 1


class _DuplicateNames:
    """Collects duplicate names in objects; JSON decoders silently use the last."""

    def __init__(self) -> None:
        self._duplicates: list[str] = []

    def collect(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        result = dict(pairs)
        if len(result) < len(pairs):
            names = [name for name, _ in pairs]
            self._duplicates += sorted(name for name in result if names.count(name) > 1)
        return result

    def take_duplicates(self) -> list[str]:
        """The duplicates since the last call."""
        found, self._duplicates = self._duplicates, []
        return found


def _duplicates(path: Path, place: str, name: str) -> Problem:
    text = f"{name!r} appears more than once in an object; the last one is used"
    return Problem(Severity.WARNING, str(path), place, text)


def _skip_space(text: str, position: int) -> int:
    """The position of the next character that is not white space."""
    found = _WHITE_SPACE.match(text, position)
    return position if found is None else found.end()


def _read_yaml(path: Path, data: bytes) -> tuple[object, list[Problem]]:
    text = _text(path, data)
    if not text.strip():
        # A file that is being rewritten looks like this.
        raise OfflineDataError(str(path), _EMPTY_FILE)
    values = YamlValues(_MIN_NODES + _NODES_PER_CHARACTER * len(text))
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
    problems = [
        _duplicates(path, _place(line + 1, column + 1), name) for line, column, name in values.duplicates
    ]
    if more:
        text = "only the first document is read, but there are more"
        problems.append(Problem(Severity.WARNING, str(path), "", text))
    return value, problems


def yaml_root(text: str) -> yaml.Node | None:
    """The node tree of a YAML text; raises ``yaml.YAMLError``."""
    _check_depth(text)
    root: yaml.Node | None = yaml.compose(text, Loader=_YamlLoader)
    return root


def _check_depth(text: str) -> None:
    # The C composer recurses for every level: too many would crash the process.
    depth = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
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
    raise ValueError(f"{constant} is not a JSON value")
