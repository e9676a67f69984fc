"""Describes every option for people: the listing that the bare command prints, and ``docs/options.md``."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from textwrap import fill
from typing import Any, Final

from ff_proxy.config.option import Mode, Option, Standing

WIDTH: Final = 100
_INDENT: Final = " " * 8

_SOURCES: Final = (
    "Each option is a flag and an environment variable. Sources, strongest first: flag, environment variable,"
    " file of environment variables (-env-file), TOML file (-config), default. An empty value means unset; "
    "values of api-keys from all sources are joined."
)
_FLAGS: Final = (
    "Flags are written -name value, -name=value, or with two dashes; a boolean stands alone or takes =true, "
    "=false, =1, =0, =t or =f."
)


def as_text(options: Sequence[Option[Any]]) -> str:
    """The listing for a terminal: flag, environment variable, type, default and meaning of each option."""
    return "\n".join(
        (
            fill(_SOURCES, WIDTH),
            fill(_FLAGS, WIDTH),
            *(line for group, members in _groups(options) for line in _text_group(group, members)),
            "",
        )
    )


def as_markdown(options: Sequence[Option[Any]]) -> str:
    """The page ``docs/options.md``, whole."""
    return "\n".join(
        (
            "# Options",
            "",
            "<!-- Made by `make docs` from `src/ff_proxy/config/options.py`; edit that, not this. -->",
            "",
            _SOURCES,
            "",
            _FLAGS,
            *(line for group, members in _groups(options) for line in _markdown_group(group, members)),
            "",
        )
    )


def _groups(options: Sequence[Option[Any]]) -> Iterator[tuple[str, list[Option[Any]]]]:
    for group, members in groupby(options, key=lambda option: option.group):
        yield group, list(members)


def _text_group(group: str, members: Iterable[Option[Any]]) -> Iterator[str]:
    yield ""
    yield f"{group}:"
    for option in members:
        facts = (option.env, option.kind.name, *_default(option))
        yield f"  {', '.join(f'-{name}' for name in option.names)}  ({'; '.join(facts)})"
        yield fill(f"{_meaning(option)}.", WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _markdown_group(group: str, members: Iterable[Option[Any]]) -> Iterator[str]:
    yield from ("", f"## {group}", "")
    yield "| flag | environment variable | type | default | meaning |"
    yield "|---|---|---|---|---|"
    for option in members:
        cells = (
            ", ".join(f"`{name}`" for name in option.names),
            f"`{option.env}`",
            option.kind.name,
            f"`{option.shown_default}`" if option.shown_default else "",
            f"{_meaning(option)}.",
        )
        yield f"| {' | '.join(cell.replace('|', ', ') for cell in cells)} |"


def _default(option: Option[Any]) -> Iterator[str]:
    if option.shown_default:
        yield f"default {option.shown_default}"


def _meaning(option: Option[Any]) -> str:
    return "; ".join((option.meaning, *_remarks(option)))


def _remarks(option: Option[Any]) -> Iterator[str]:
    if option.required:
        yield f"required by {' and '.join(mode.value for mode in Mode if mode in option.required)} mode"
    if option.standing is Standing.IGNORED:
        yield "ignored"
    if option.standing is Standing.LATER:
        yield "not supported yet"
