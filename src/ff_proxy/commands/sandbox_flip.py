"""``ff-proxy sandbox flip FLAG``: change a flag of a running sandbox."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from ff_proxy.commands.command_line import read_command
from ff_proxy.commands.output import write_json, write_text
from ff_proxy.commands.sandbox_client import URL, ask, in_words
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option
from ff_proxy.errors import ConfigError, ExitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipOptions:
    """The command's options."""

    environment: str = option(
        kinds.TEXT, "", "Environment, by id or identifier; without it, the first that has the flag"
    )
    on: bool = option(kinds.BOOLEAN, False, "Turn the flag on")
    off: bool = option(kinds.BOOLEAN, False, "Turn the flag off")
    serve: str = option(kinds.TEXT, "", "Variation to serve by default; turns the flag on as well")
    url: str = option(kinds.URL, URL, "Where the sandbox is")
    json: bool = option(kinds.BOOLEAN, False, "One JSON object instead of text")


def flip(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy sandbox flip ARGV…``; without ``-on``, ``-off`` and ``-serve`` the state is toggled.

    ``None`` if help is asked for.
    Raises ``ConfigError`` for a command line that cannot be used, ``RequestError`` for a change that the
    sandbox refuses, ``StartupError`` if there is no sandbox.
    """
    command = read_command(argv, FlipOptions, words=1)
    if command is None:
        return None
    options, words = command
    if not words:
        raise ConfigError("which flag? ff-proxy sandbox flip FLAG")
    if options.on and options.off:
        raise ConfigError("on, off: only one of them can be meant")
    body = {"flag": words[0], "environment": options.environment, "serve": options.serve}
    if options.on or options.off:
        body["state"] = "on" if options.on else "off"
    flipped = ask(options.url, "POST", "/sandbox/flip", body)
    if options.json:
        write_json(out, flipped)
    else:
        write_text(out, in_words(flipped))
    return ExitCode.OK
