"""``ff-proxy sandbox flip FLAG``: change a flag of a running sandbox."""

from collections.abc import Sequence
from typing import Any, Final, TextIO

import httpx2

from ff_proxy.commands.command_line import read_command, usage
from ff_proxy.config import kinds
from ff_proxy.config.option import Option
from ff_proxy.config.settings import Settings
from ff_proxy.errors import ConfigError, ExitCode, RequestError, StartupError

_GROUP: Final = "Flip"
_PATIENCE: Final = 10.0

# fmt: off
ENVIRONMENT: Final = Option(
    "environment", _GROUP, kinds.TEXT, "",
    "Environment, by id or identifier; without it, the first that has the flag",
)
ON: Final = Option(
    "on", _GROUP, kinds.BOOLEAN, False,
    "Turn the flag on",
)
OFF: Final = Option(
    "off", _GROUP, kinds.BOOLEAN, False,
    "Turn the flag off",
)
SERVE: Final = Option(
    "serve", _GROUP, kinds.TEXT, "",
    "Variation to serve by default; turns the flag on as well",
)
URL: Final = Option(
    "url", _GROUP, kinds.URL, "http://127.0.0.1:7100",
    "Where the sandbox is",
)
# fmt: on
OPTIONS: Final[tuple[Option[Any], ...]] = (ENVIRONMENT, ON, OFF, SERVE, URL)


def flip(argv: Sequence[str], out: TextIO) -> ExitCode:
    """Run ``ff-proxy sandbox flip ARGV…``; without ``-on``, ``-off`` and ``-serve`` the state is toggled.

    Raises ``ConfigError`` for a command line that cannot be used, ``RequestError`` for a change that the
    sandbox refuses, ``StartupError`` if there is no sandbox.
    """
    command = read_command(argv, OPTIONS, words=1)
    if command is None:
        print(usage("ff-proxy sandbox flip FLAG", OPTIONS), file=out)
        return ExitCode.OK
    settings, words = command
    if not words:
        raise ConfigError("which flag? ff-proxy sandbox flip FLAG")
    if settings[ON] and settings[OFF]:
        raise ConfigError("on, off: only one of them can be meant")
    flipped = _ask(settings, words[0])
    served = flipped["serve"] or {}
    says = f"{flipped['flag']} in {flipped['environment']} is {flipped['state']}"
    if flipped["state"] == "on":
        says += f" and serves {served.get('variation') or 'by percentage'} by default"
    print(f"{says} (version {flipped['version']})", file=out)
    return ExitCode.OK


def _ask(settings: Settings, flag: str) -> dict[str, Any]:
    body = {"flag": flag, "environment": settings[ENVIRONMENT], "serve": settings[SERVE]}
    if settings[ON] or settings[OFF]:
        body["state"] = "on" if settings[ON] else "off"
    try:
        # A sandbox is never behind an outbound proxy.
        with httpx2.Client(trust_env=False, timeout=_PATIENCE) as http:
            answer = http.post(f"{settings[URL]}/sandbox/flip", json=body)
            content = answer.json()
    except (httpx2.TransportError, ValueError) as error:
        raise StartupError(
            f"no sandbox answers at {settings[URL]}; start one with ff-proxy sandbox, or say -url"
        ) from error
    if answer.status_code != httpx2.codes.OK:
        raise RequestError(answer.status_code, str(content.get("message", content)))
    result: dict[str, Any] = content
    return result
