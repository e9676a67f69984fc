"""The effective value of every option, with its source: sources weighed against each other, texts read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from ff_proxy.config import options
from ff_proxy.config.flags import CommandLine, parse_flags
from ff_proxy.config.given import Given, Source
from ff_proxy.config.option import Option
from ff_proxy.config.sources import ReadFile, Reading, from_env_file, from_environment, from_toml_file

T = TypeVar("T")

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of one option, and where it comes from, for people."""

    option: Option[Any]
    value: Any
    place: str

    @property
    def shown(self) -> str:
        """The value without its secrets."""
        return self.option.kind.show(self.value)


class Settings:
    """Values by option: ``settings[options.PORT]`` is the port, typed.

    An option whose text could not be read has its default here, and its problem in ``problems``.
    """

    def __init__(
        self, settings: Iterable[Setting], *, problems: Sequence[str] = (), warnings: Sequence[str] = ()
    ) -> None:
        self._settings = {setting.option.flag: setting for setting in settings}
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)

    def __getitem__(self, option: Option[T]) -> T:
        value: T = self._settings[option.flag].value
        return value

    def __iter__(self) -> Iterator[Setting]:
        return iter(self._settings.values())

    def given(self, option: Option[Any]) -> bool:
        """Whether any source sets the option, be it to a text that could not be read."""
        return self._settings[option.flag].place != DEFAULT

    @property
    def nothing_given(self) -> bool:
        """Whether no source sets anything, and nothing is wrong with any."""
        return not self.problems and not any(map(self.given, (setting.option for setting in self)))


def read_settings(
    argv: Sequence[str],
    environ: Mapping[str, str],
    read_file: ReadFile = Path.read_bytes,
    declared: Sequence[Option[Any]] = options.ALL,
) -> Settings:
    """All options from flags, environment, ``.env`` and TOML (PRODUCT §2); bad input raises nothing."""
    return settle(parse_flags(argv, declared), environ, read_file, declared)


def settle(
    line: CommandLine,
    environ: Mapping[str, str],
    read_file: ReadFile = Path.read_bytes,
    declared: Sequence[Option[Any]] = options.ALL,
) -> Settings:
    """As ``read_settings``, for a command line that has been parsed already."""
    readings = [Reading(line.given, line.problems), from_environment(environ, declared)]
    if (path := _file(options.ENV_FILE, readings)) is not None:
        readings.append(from_env_file(path, read_file, environ, declared))
    if (path := _file(options.CONFIG_FILE, readings)) is not None:
        readings.append(from_toml_file(path, read_file, declared))

    problems = [problem for reading in readings for problem in reading.problems]
    given = sorted(
        (item for reading in readings for item in reading.given),
        key=lambda item: (item.option.flag, item.source),
    )
    by_flag = {flag: list(items) for flag, items in groupby(given, key=lambda item: item.option.flag)}
    settings = []
    for option in declared:
        found = by_flag.get(option.flag, [])
        settings.append(_setting(option, found, problems))
    disagreeing = [option.flag for option in declared if _disagree(by_flag.get(option.flag, []))]
    warnings = (
        [f"flag and environment variable disagree, the flag is used: {', '.join(disagreeing)}"]
        if disagreeing
        else []
    )
    return Settings(settings, problems=problems, warnings=warnings)


def _file(option: Option[Path | None], readings: Iterable[Reading]) -> Path | None:
    found = [item for reading in readings for item in reading.given if item.option is option]
    return Path(_strongest(found).text) if found else None


def _strongest(found: Sequence[Given]) -> Given:
    """The one that counts: of the strongest source, the last."""
    return [item for item in found if item.source == min(other.source for other in found)][-1]


def _setting(option: Option[Any], found: Sequence[Given], problems: list[str]) -> Setting:
    if not found:
        return Setting(option, option.default, DEFAULT)
    if option.kind.joined:
        text = ",".join(item.text for item in found)
        place = ", ".join(dict.fromkeys(item.place for item in found))
    else:
        text, place = (winner := _strongest(found)).text, winner.place
    try:
        return Setting(option, _read(option, text), place)
    except ValueError as error:
        quoted = f", not {text!r}" if option.kind.may_quote else ""
        problems.append(f"{option.flag}: {error}{quoted} ({place})")
        return Setting(option, option.default, place)


def _read(option: Option[T], text: str) -> T:
    if not text.isprintable():
        # A line break would end an HTTP header, half a character could not be encoded again.
        raise ValueError("must consist of printable characters in UTF-8")
    return option.kind.parse(text)


def _disagree(found: Sequence[Given]) -> bool:
    """Whether flag and environment say different things about an option that only one of them can decide."""
    if not found or found[0].option.kind.joined:
        return False
    last = {item.source: item for item in found}
    flag, variable = last.get(Source.FLAG), last.get(Source.ENVIRONMENT)
    return flag is not None and variable is not None and _meant(flag) != _meant(variable)


def _meant(item: Given) -> object:
    try:
        return item.option.kind.parse(item.text)
    except ValueError:
        return item.text
