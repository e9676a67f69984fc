"""The effective value of every option, with its source."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from ff_proxy.config.declare import Option
from ff_proxy.config.flags import CommandLine, parse_flags
from ff_proxy.config.given import Given, Reading, Source
from ff_proxy.config.records import ALL
from ff_proxy.config.sources import ReadFile, from_env_file, from_environment, from_toml_file
from ff_proxy.file_reading import read_file_or_pipe

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that values are read from."""

    line: CommandLine
    environ: Mapping[str, str] = field(repr=False)
    read_file: ReadFile = read_file_or_pipe


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of one option, and a description of its source."""

    option: Option[Any]
    value: Any = field(repr=False)
    place: str
    untrimmed: str = field(default="", repr=False)

    @property
    def masked(self) -> str:
        """The value as text, with secrets masked."""
        return self.option.show(self.value)


class Settings:
    """Values by flag: ``settings["port"]`` is the port.

    An option with invalid text has its default here and a problem in ``problems``. ``files`` are the files
    that were named, readable or not.
    """

    def __init__(
        self,
        inputs: Inputs,
        settings: Iterable[Setting],
        *,
        problems: Sequence[str] = (),
        warnings: Sequence[str] = (),
        files: Sequence[Path] = (),
    ) -> None:
        self.inputs = inputs
        self._settings = {setting.option.flag: setting for setting in settings}
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        self.files = tuple(files)

    def __getitem__(self, flag: str) -> Any:
        return self._settings[flag].value

    def __iter__(self) -> Iterator[Setting]:
        return iter(self._settings.values())

    def untrimmed(self, flag: str) -> str:
        """The text as given, with surrounding white space; empty if not set."""
        return self._settings[flag].untrimmed

    def given(self, flag: str) -> bool:
        """Whether any source sets the option, even to invalid text."""
        return self._settings[flag].place != DEFAULT

    @property
    def nothing_given(self) -> bool:
        """Whether no source sets any option or has a problem."""
        # NO_COLOR is meant for every program in a terminal.
        return not self.problems and not any(
            self.given(flag) for flag in self._settings if flag != "no-color"
        )


def read_settings(
    argv: Sequence[str],
    environ: Mapping[str, str],
    read_file: ReadFile = read_file_or_pipe,
    declared: Sequence[Option[Any]] = ALL,
) -> Settings:
    """Read all options from flags, environment, ``.env`` and TOML; bad input never raises.

    See spec/behaviour#options.
    """
    return resolve_settings(Inputs(parse_flags(argv, declared), environ, read_file), declared)


def resolve_settings(inputs: Inputs, declared: Sequence[Option[Any]] = ALL) -> Settings:
    """Like ``read_settings``, for a parsed command line."""
    environ, read_file = inputs.environ, inputs.read_file
    readings = [inputs.line.reading, from_environment(environ, read_file, declared)]
    if (path := _file("env-file", readings)) is not None:
        readings.append(from_env_file(path, read_file, environ, declared))
    if (path := _file("config", readings)) is not None:
        readings.append(from_toml_file(path, read_file, declared))

    problems = [problem for reading in readings for problem in reading.problems]
    warnings = [warning for reading in readings for warning in reading.warnings]
    given = sorted(
        (item for reading in readings for item in reading.given),
        key=lambda item: (item.option.flag, item.source),
    )
    by_flag = {flag: list(items) for flag, items in groupby(given, key=lambda item: item.option.flag)}
    settings = [_setting(option, by_flag.get(option.flag, []), problems) for option in declared]
    disagreeing = [option.flag for option in declared if _disagree(by_flag.get(option.flag, []))]
    if disagreeing:
        warnings.append(f"flag and environment variable differ, the flag wins: {', '.join(disagreeing)}")
    files = [file for reading in readings for file in reading.files]
    return Settings(inputs, settings, problems=problems, warnings=warnings, files=files)


def _file(flag: str, readings: Iterable[Reading]) -> Path | None:
    found = [item for reading in readings for item in reading.given if item.option.flag == flag]
    return Path(_strongest(found).text) if found else None


def _strongest(found: Sequence[Given]) -> Given:
    """The value that counts: the last one of the strongest source."""
    return [item for item in found if item.source == min(other.source for other in found)][-1]


def _setting(option: Option[Any], found: Sequence[Given], problems: list[str]) -> Setting:
    if not found:
        return Setting(option, option.default, DEFAULT)
    winner = _strongest(found)
    text, place = winner.text, winner.place
    if option.kind.joined:
        text = ",".join(item.text for item in found)
        place = ", ".join(dict.fromkeys(item.place for item in found))
    try:
        return Setting(option, option.kind.read(text), place, winner.untrimmed)
    except ValueError as error:
        quoted = f", not {text!r}" if option.kind.quotable and not option.kind.secret else ""
        problems.append(f"{option.flag}: {error}{quoted} ({place})")
        return Setting(option, option.default, place)


def _disagree(found: Sequence[Given]) -> bool:
    """Whether flag and environment variable differ, for an option with a single value."""
    if not found or found[0].option.kind.joined:
        return False
    last = {item.source: item for item in found}
    flag, variable = last.get(Source.FLAG), last.get(Source.ENVIRONMENT)
    return flag is not None and variable is not None and _meaning_of(flag) != _meaning_of(variable)


def _meaning_of(item: Given) -> object:
    try:
        return item.option.kind.parse(item.text)
    except ValueError:
        return item.text
