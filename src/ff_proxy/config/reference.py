"""Documentation of the options: the help of commands, and ``docs/options.md``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import fill
from typing import Any, Final

from ff_proxy.config.declare import Mode, Option, missing, options_of
from ff_proxy.config.records import ALL, ROLES
from ff_proxy.config.settings import read_settings

_Required = Mapping[Mode, frozenset[str]]

WIDTH: Final = 100
_INDENT: Final = " " * 8

SOURCES: Final = (
    "Each option is a flag and an environment variable. Sources, strongest first: flag, environment variable,"
    " file of environment variables (-env-file), TOML file (-config), default. An empty value means unset; "
    "values of api-keys from all sources are joined. A secret can be in a file named by NAME_FILE: "
    "AUTH_SECRET_FILE=/run/secrets/auth."
)
_FLAGS: Final = (
    "Flags are written -name value, -name=value, or with two dashes; a boolean needs no value, or takes "
    "=true, =false, =1, =0, =t or =f."
)
_CHANGE: Final = (
    "*change* says how a new value in the config file, `.env` or a file with a secret takes effect: "
    "by a [reload](admin.md#reload) while the proxy runs, or only by a restart."
)
_COLUMN: Final = 24


def usage(call: str, record: type[Any], summary: str = "") -> str:
    """The usage of a command with the options of ``record``, one line each."""
    options = options_of(record)
    needed = _required_by(record, options)
    lines = [f"{call} [options]" if options else call, ""]
    if summary:
        lines += [summary, ""]
    for option in options:
        name = f"-{option.flag}" if option.kind.standalone else f"-{option.flag} {option.kind.name}"
        default = f" (default {option.shown_default})" if option.shown_default not in {"", "false"} else ""
        required = " (required)" if option.flag in needed else ""
        lines.append(f"  {name:<{_COLUMN}} {option.meaning}{default}{required}")
    return "\n".join(lines).rstrip()


def as_text(options: Sequence[Option[Any]]) -> str:
    """The help for a terminal: flag, environment variable, type, default and meaning of each option."""
    required = _required()
    return "\n".join(
        (
            fill(SOURCES, WIDTH),
            fill(_FLAGS, WIDTH),
            *(line for group, members in _groups(options) for line in _text_group(group, members, required)),
            "",
        )
    )


def as_markdown(options: Sequence[Option[Any]]) -> str:
    """The whole page ``docs/options.md``."""
    required = _required()
    return "\n".join(
        (
            "# Options",
            "",
            "<!-- Made by `make docs` from `src/ff_proxy/config`; edit that, not this. -->",
            "",
            SOURCES,
            "",
            _FLAGS,
            "",
            _CHANGE,
            *(
                line
                for group, members in _groups(options)
                for line in _markdown_group(group, members, required)
            ),
            "",
        )
    )


def _groups(options: Sequence[Option[Any]]) -> Iterator[tuple[str, list[Option[Any]]]]:
    for group, members in groupby(options, key=lambda option: option.section):
        yield group, list(members)


def _text_group(group: str, members: Iterable[Option[Any]], required: _Required) -> Iterator[str]:
    yield ""
    yield f"{group}:"
    for option in members:
        facts = (option.env, option.kind.name, *_default(option))
        yield f"  {', '.join(f'-{name}' for name in option.names)}  ({'; '.join(facts)})"
        yield fill(f"{_meaning(option, required)}.", WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _markdown_group(group: str, members: Iterable[Option[Any]], required: _Required) -> Iterator[str]:
    yield from ("", f"## {group}", "")
    yield "| flag | environment variable | type | default | change | meaning |"
    yield "|---|---|---|---|---|---|"
    for option in members:
        cells = (
            ", ".join(f"`{name}`" for name in option.names),
            f"`{option.env}`",
            option.kind.name,
            f"`{option.shown_default}`" if option.shown_default else "",
            "" if option.ignored else "reload" if option.reloadable else "restart",
            f"{_meaning(option, required)}.",
        )
        yield f"| {' | '.join(cell.replace('|', ', ') for cell in cells)} |"


def _default(option: Option[Any]) -> Iterator[str]:
    if option.shown_default:
        yield f"default {option.shown_default}"


def _required() -> _Required:
    return {mode: _required_by(ROLES[mode], ALL) for mode in Mode}


def _required_by(record: type[Any], options: Sequence[Option[Any]]) -> frozenset[str]:
    """The flags of those of ``options`` that ``record`` requires whatever else is set."""
    nothing = read_settings([], {}, declared=options)
    return frozenset(option.flag for option, _ in missing(record, nothing))


def _meaning(option: Option[Any], required: _Required) -> str:
    return "; ".join((option.meaning, *_remarks(option, required)))


def _remarks(option: Option[Any], required: _Required) -> Iterator[str]:
    modes = [mode.value for mode, flags in required.items() if option.flag in flags]
    if modes:
        yield f"required by {' and '.join(modes)} mode"
    if option.ignored:
        yield "ignored"
