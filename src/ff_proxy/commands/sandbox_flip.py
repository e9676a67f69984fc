"""``ff-proxy sandbox flip FLAG``: change a flag of a running sandbox."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

import httpx2

from ff_proxy.commands.command_line import read_command
from ff_proxy.commands.output import write_json
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option
from ff_proxy.errors import ConfigError, ExitCode, RequestError, StartupError

_PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipOptions:
    """The command's options."""

    environment: str = option(
        kinds.TEXT, "", "Environment, by id or identifier; without it, the first that has the flag"
    )
    on: bool = option(kinds.BOOLEAN, False, "Turn the flag on")
    off: bool = option(kinds.BOOLEAN, False, "Turn the flag off")
    serve: str = option(kinds.TEXT, "", "Variation to serve by default; turns the flag on as well")
    url: str = option(kinds.URL, "http://127.0.0.1:7100", "Where the sandbox is")
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
    flipped = _ask(options, words[0])
    if options.json:
        write_json(out, flipped)
        return ExitCode.OK
    served = flipped["serve"] or {}
    says = f"{flipped['flag']} in {flipped['environment']} is {flipped['state']}"
    if flipped["state"] == "on":
        says += f" and serves {served.get('variation') or 'by percentage'} by default"
    print(f"{says} (version {flipped['version']})", file=out)
    return ExitCode.OK


def _ask(options: FlipOptions, flag: str) -> dict[str, Any]:
    body = {"flag": flag, "environment": options.environment, "serve": options.serve}
    if options.on or options.off:
        body["state"] = "on" if options.on else "off"
    try:
        # A sandbox is never behind an outbound proxy.
        with httpx2.Client(trust_env=False, timeout=_PATIENCE) as http:
            answer = http.post(f"{options.url}/sandbox/flip", json=body)
            content = answer.json()
    except (httpx2.TransportError, ValueError) as error:
        raise StartupError(
            f"no sandbox answers at {options.url}; start one with ff-proxy sandbox, or say -url"
        ) from error
    if answer.status_code != httpx2.codes.OK:
        raise RequestError(answer.status_code, str(content.get("message", content)))
    result: dict[str, Any] = content
    return result
