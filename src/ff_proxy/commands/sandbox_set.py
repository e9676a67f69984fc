"""``ff-proxy sandbox set FLAG VALUE``: let a flag of a running sandbox be something for everyone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from ff_proxy.commands.command_line import read_command
from ff_proxy.commands.output import write_json, write_text
from ff_proxy.commands.sandbox_client import URL, ask, in_words
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option
from ff_proxy.errors import ConfigError, ExitCode

_WORDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOptions:
    """The command's options."""

    environment: str = option(
        kinds.TEXT, "", "Environment, by id or identifier; without it, the first that has the flag"
    )
    url: str = option(kinds.URL, URL, "Where the sandbox is")
    json: bool = option(kinds.BOOLEAN, False, "One JSON object instead of text")


def run(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy sandbox set ARGV…``; ``None`` if help is asked for.

    Raises ``ConfigError`` for a command line that cannot be used, ``RequestError`` for a value that the flag
    cannot have, ``StartupError`` if there is no sandbox.
    """
    command = read_command(argv, SetOptions, words=_WORDS)
    if command is None:
        return None
    options, words = command
    if len(words) != _WORDS:
        raise ConfigError("what to be? ff-proxy sandbox set FLAG VARIATION, or on, off or rules")
    body = {"flag": words[0], "value": words[1], "environment": options.environment}
    changed = ask(options.url, "POST", "/sandbox/set", body)
    if options.json:
        write_json(out, changed)
    else:
        write_text(out, in_words(changed))
    return ExitCode.OK
