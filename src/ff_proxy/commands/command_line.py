"""Parsing the command lines of commands."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import Values, build, missing, option, options_of
from ff_proxy.config.flags import parse_flags
from ff_proxy.config.given import Reading
from ff_proxy.config.records import ALL
from ff_proxy.config.settings import Inputs, Settings, resolve_settings
from ff_proxy.errors import ConfigError

R = TypeVar("R")

_PROCESS_ONE: Final = Path("/proc/1/cmdline")


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of a command that has none."""


def json_option() -> bool:
    """Declares the field ``json``, for records that do not inherit it from ``JsonOptions``."""
    return option(kinds.BOOLEAN, False, "One JSON object instead of text")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonOptions:
    """The option ``json``."""

    json: bool = json_option()


def _no_rule(_: Values) -> Iterable[str]:
    return ()


def read_command(
    argv: Sequence[str],
    record: type[R],
    *,
    words: int,
    environ: Mapping[str, str] | None = None,
    variables: Iterable[str] = (),
    rule: Callable[[Values], Iterable[str]] = _no_rule,
) -> tuple[R, Sequence[str]] | None:
    """The options that ``record`` declares, and up to ``words`` arguments; ``None`` if help is requested.

    ``variables`` are the flags of options that are also read from the environment and from files that it
    names. ``rule`` checks combinations of options. Raises ``ConfigError`` with every problem.
    """
    declared = options_of(record)
    line = parse_flags(argv, declared, words=words)
    if line.wants_help:
        return None
    chosen = set(variables)
    names = {name for one in declared if one.flag in chosen for name in (one.env, one.env_file)}
    given = {name: text for name, text in (environ or {}).items() if name in names}
    settings = resolve_settings(Inputs(line, given), declared)
    problems = list(settings.problems)
    if not line.has_unknown_flags:  # what is missing may be there under a wrong name
        problems += [*rule(settings), *(f"{one.flag}: required" for one, _ in missing(record, settings))]
    if problems:
        raise ConfigError(*problems)
    return build(record, settings), line.words


def read_with_settings(
    argv: Sequence[str], environ: Mapping[str, str], record: type[R]
) -> tuple[R, Settings] | None:
    """Parse the command's own options, and the proxy's from all sources; ``None`` if help is requested.

    Problems of the proxy's options are in ``problems`` of the settings. Raises ``ConfigError`` for those of
    the command's own.
    """
    declared = options_of(record)
    line = parse_flags(argv, (*ALL, *declared))
    if line.wants_help:
        return None
    settings = resolve_settings(Inputs(line, environ))
    # Without files: they hold options of the proxy only.
    flags = {one.flag for one in declared}
    given = [one for one in line.reading.given if one.option.flag in flags]
    own_line = replace(line, reading=Reading(given, line.problems))
    own = resolve_settings(Inputs(own_line, {}), declared)
    problems = [problem for problem in own.problems if problem not in settings.problems]
    if problems:
        raise ConfigError(*problems)
    return build(record, own), settings


def read_as_in_container(
    argv: Sequence[str], environ: Mapping[str, str], record: type[R], command_line: Path = _PROCESS_ONE
) -> tuple[R, Settings] | None:
    """Like ``read_with_settings``; if only the command's own flags are given, adds those of process 1.

    In a container, the proxy's flags are only on the ``command_line`` of process 1.
    """
    read = read_with_settings(argv, environ, record)
    if read is None:
        return None
    own = {declared.flag for declared in options_of(record)}
    if any(given.option.flag not in own for given in read[1].inputs.line.reading.given):
        return read
    return read_with_settings([*flags_of_the_container(command_line), *argv], environ, record) or read


def flags_of_the_container(command_line: Path = _PROCESS_ONE) -> list[str]:
    """The flags that ``docker run`` gave to the proxy, and does not give to a container's probe.

    Empty if process 1 is not ``ff-proxy FLAGS…``, or hidden.
    """
    try:
        words = os.fsdecode(command_line.read_bytes()).split("\0")[:-1]
    except OSError:
        return []
    programs = [number for number, word in enumerate(words) if Path(word).name == "ff-proxy"]
    return words[programs[-1] + 1 :] if programs else []


def read_options(argv: Sequence[str], record: type[R]) -> R | None:
    """Like ``read_command``, for a command without arguments."""
    command = read_command(argv, record, words=0)
    return command[0] if command else None
