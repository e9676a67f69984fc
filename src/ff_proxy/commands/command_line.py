"""Command lines of the small commands: their own few options, flags only."""

from collections.abc import Sequence
from typing import Any

from ff_proxy.config.flags import parse_flags
from ff_proxy.config.option import Option
from ff_proxy.config.settings import Settings, settle
from ff_proxy.errors import ConfigError


def read_command(
    argv: Sequence[str], options: Sequence[Option[Any]], *, words: int
) -> tuple[Settings, Sequence[str]] | None:
    """The options and the other words of a command line; ``None`` if it asks for help.

    Raises ``ConfigError`` with every problem.
    """
    line = parse_flags(argv, options, words=words)
    if line.wants_help:
        return None
    settings = settle(line, {}, declared=options)
    if settings.problems:
        raise ConfigError(*settings.problems)
    return settings, line.words


def read_options(argv: Sequence[str], options: Sequence[Option[Any]]) -> Settings | None:
    """As ``read_command``, where there are no words but flags."""
    command = read_command(argv, options, words=0)
    return command[0] if command else None


def usage(command: str, options: Sequence[Option[Any]]) -> str:
    """How a command is called, a line per option."""
    lines = [f"{command} [options]", ""]
    for option in options:
        name = f"-{option.flag}" if option.is_boolean else f"-{option.flag} {option.kind.name}"
        default = f" (default {option.shown_default})" if option.shown_default not in {"", "false"} else ""
        lines.append(f"  {name:<24} {option.meaning}{default}")
    return "\n".join(lines)
