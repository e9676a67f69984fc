"""Reading the environment, ``.env`` files and TOML files as lists of values, each with its place.

These functions never raise for bad input; they return problems, which quote names and places but never a
value.
"""

import io
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from dotenv.parser import Binding, parse_stream
from dotenv.variables import parse_variables

from ff_proxy.config.declare import Option
from ff_proxy.config.given import Reading, Source
from ff_proxy.config.spelling import near_miss, nearest

ReadFile = Callable[[Path], bytes]

_SERVICE: Final = re.compile(r"(?:tcp|udp|sctp)://")
# Python refuses to convert integers of more digits.
_LONG_NUMBER: Final = re.compile(r"[0-9][0-9_]{4300}")
_MOST_BITS: Final = 10_000
_TOO_LONG: Final = "a number has thousands of digits"


def from_environment(
    environ: Mapping[str, str], read_file: ReadFile, options: Iterable[Option[Any]]
) -> Reading:
    """Read the environment variables of ``options``, and the files that ``NAME_FILE`` names."""
    reading = Reading()
    for option in options:
        place = f"environment variable {option.env}"
        text = environ.get(option.env, "")
        if option.env.endswith("PORT") and _SERVICE.match(text.strip()):
            reading.warnings.append(
                f"{place} is ignored: Kubernetes sets it for a Service of that name, "
                "unless enableServiceLinks is false"
            )
        else:
            reading.add(option, text, Source.ENVIRONMENT, place)
        if option.env_file and (named := environ.get(option.env_file, "").strip()):
            place = f"environment variable {option.env_file}"
            _add_file(reading, option, Path(named), read_file, Source.ENVIRONMENT, place)
    return reading.reject_duplicates()


def from_env_file(
    path: Path, read_file: ReadFile, environ: Mapping[str, str], options: Iterable[Option[Any]]
) -> Reading:
    """Read a ``.env`` file as python-dotenv does; ``//`` also begins a comment line (spec/behaviour#values).

    ``${NAME}`` in a value is an earlier variable of the file, else one of ``environ``. Unknown variables are
    ignored, because such files are often shared with other programs.
    """
    reading = Reading()
    text = _read(path, read_file, reading)
    by_env = {name: option for option in options for name in (option.env, option.env_file) if name}
    values = dict(environ)
    for binding in parse_stream(io.StringIO(_blank_slash_comments(text))):
        place = f"{path} line {_line_of(binding)}"
        if binding.error:
            reading.problems.append(f"{place}: cannot be read: must be NAME=value, or a comment with # or //")
        if binding.key is None or binding.value is None:
            continue
        value = "".join(atom.resolve(values) for atom in parse_variables(binding.value))
        values[binding.key] = value
        option = by_env.get(binding.key)
        if option is None and (meant := near_miss(binding.key, by_env)):
            reading.warnings.append(f"{place}: {binding.key} is not an option; did you mean {meant}?")
        if option is not None and not option.in_files:
            reading.problems.append(f"{option.flag}: cannot be set in a file ({place})")
        elif option is not None and binding.key == option.env_file:
            if named := value.strip():
                _add_file(reading, option, Path(named), read_file, Source.ENV_FILE, place)
        elif option is not None:
            reading.add(option, value, Source.ENV_FILE, place)
    return reading.reject_duplicates()


def from_toml_file(path: Path, read_file: ReadFile, options: Iterable[Option[Any]]) -> Reading:
    """Read a TOML file whose top-level keys are names of flags, with ``_`` or ``-``."""
    reading = Reading()
    text = _read(path, read_file, reading)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reading.problems.append(_toml_problem(path, text, error))
        return reading
    by_name = {name: option for option in options for name in option.names}
    seen: dict[str, str] = {}
    for key, value in document.items():
        place = f"{path}{_toml_line(text, key)}"
        option = by_name.get(key) or by_name.get(key.replace("_", "-"))
        if option is None:
            reading.problems.append(f"{key}: no such option{nearest(key, list(by_name))} ({place})")
        elif not option.in_files:
            reading.problems.append(f"{option.flag}: cannot be set in a file ({place})")
        elif option.flag in seen:
            reading.problems.append(f"{option.flag}: is set twice, also as {seen[option.flag]} ({place})")
        else:
            seen[option.flag] = key
            _add_toml(reading, option, value, place)
    return reading


def _read(path: Path, read_file: ReadFile, reading: Reading, option: Option[Any] | None = None) -> str:
    reading.files.append(path)
    owner = f"{option.flag}: " if option else ""
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"must be UTF-8, and byte {error.start} is not"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except ValueError:
        reason = "it is not a valid path"  # a NUL in it
    reading.problems.append(f"{owner}{path}: cannot be read: {reason}")
    return ""


def _add_file(
    reading: Reading, option: Option[Any], path: Path, read_file: ReadFile, source: Source, place: str
) -> None:
    """Read a value from its own file, where keys may be on separate lines."""
    wrong = len(reading.problems)
    text = _read(path, read_file, reading, option)
    if option.kind.joined:
        text = ",".join(text.splitlines())
    if not text.strip() and len(reading.problems) == wrong:
        reading.problems.append(f"{option.flag}: {path}: the file is empty ({place})")
    reading.add(option, text, source, f"file {path}, {place}", path)


def _blank_slash_comments(text: str) -> str:
    # Keep blank lines, so that line numbers stay right.
    return re.sub(r"(?m)^[^\S\r\n]*//[^\r\n]*", "", text)


def _line_of(binding: Binding) -> int:
    original = binding.original.string
    blank = original[: len(original) - len(original.lstrip())]
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", blank))


def _toml_problem(path: Path, text: str, error: ValueError | RecursionError) -> str:
    if isinstance(error, tomllib.TOMLDecodeError):
        # The parser's message quotes keys and single characters, never a value.
        what, _, where = str(error).removesuffix(")").rpartition(" (at ")
        return f"{path} {where.replace(',', '')}: is not TOML: {what}"
    if isinstance(error, RecursionError):
        return f"{path}: cannot be read: it is nested too deeply"
    found = _LONG_NUMBER.search(text)
    line = f" line {text.count(chr(10), 0, found.start()) + 1}" if found else ""
    return f"{path}{line}: cannot be read: {_TOO_LONG}"


def _toml_line(text: str, key: str) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]|\s*\[+\s*{re.escape(key)}\b", line):
            return f" line {number}"
    return ""


def _add_toml(reading: Reading, option: Option[Any], value: object, place: str) -> None:
    match value:
        case bool():
            text = "true" if value else "false"
        case int() if value.bit_length() > _MOST_BITS:
            reading.problems.append(f"{option.flag}: {_TOO_LONG} ({place})")
            return
        case str() | int() | float():
            text = str(value)
        case list() if all(isinstance(item, str) for item in value):
            text = ",".join(value)
        case _:
            reading.problems.append(
                f"{option.flag}: must be a text, a number, a boolean or a list of texts ({place})"
            )
            return
    reading.add(option, text, Source.CONFIG_FILE, place)
