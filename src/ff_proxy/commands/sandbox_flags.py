"""``ff-proxy sandbox flip``, ``set`` and ``list``: the flags of a running sandbox."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from ff_proxy.commands.command_line import json_option, read_command, read_options
from ff_proxy.commands.output import write_json, write_text
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option
from ff_proxy.errors import ConfigError, ExitCode, RequestError, StartupError
from ff_proxy.sandbox.control_config import Flipped
from ff_proxy.sandbox.environment import default_variation, variations_of

_T = TypeVar("_T")

_PATIENCE: Final = 10.0
_ENVIRONMENTS: Final = "/sandbox/environments"
_FLAG_AND_VALUE: Final = 2


class _Environment(msgspec.Struct):
    id: str
    identifier: str


class _Refusal(msgspec.Struct):
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """The options of ``list``."""

    environment: str = option(kinds.TEXT, "", "Environment, by id or identifier; without it, all of them")
    url: str = option(kinds.URL, "http://127.0.0.1:7100", "Where the sandbox is")
    json: bool = json_option()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagOptions(ListOptions):
    """The options of ``set``."""

    environment: str = option(
        kinds.TEXT, "", "Environment, by id or identifier; without it, the first that has the flag"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipOptions(FlagOptions):
    """The options of ``flip``."""

    on: bool = option(kinds.BOOLEAN, False, "Turn the flag on")
    off: bool = option(kinds.BOOLEAN, False, "Turn the flag off")
    serve: str = option(kinds.TEXT, "", "Variation to serve by default; turns the flag on as well")


def flip(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy sandbox flip ARGV…``; without ``-on``, ``-off`` and ``-serve`` it toggles the state.

    Like the others here, returns ``None`` if help is requested, and raises ``ConfigError`` for an invalid
    command line, ``RequestError`` if the sandbox refuses, ``StartupError`` if there is no sandbox.
    """
    command = read_command(argv, FlipOptions, words=1)
    if command is None:
        return None
    options, words = command
    if not words:
        raise ConfigError("which flag? ff-proxy sandbox flip FLAG")
    if options.on and options.off:
        raise ConfigError("on, off: only one of them can be meant")
    state = {"state": "on" if options.on else "off"} if options.on or options.off else {}
    return _change(options, "/sandbox/flip", {"flag": words[0], "serve": options.serve, **state}, out)


def set_value(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy sandbox set ARGV…``; see ``flip``."""
    command = read_command(argv, FlagOptions, words=_FLAG_AND_VALUE)
    if command is None:
        return None
    options, words = command
    if len(words) != _FLAG_AND_VALUE:
        raise ConfigError("set it to what? ff-proxy sandbox set FLAG VARIATION, or on, off or rules")
    return _change(options, "/sandbox/set", {"flag": words[0], "value": words[1]}, out)


def list_flags(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy sandbox list ARGV…``; see ``flip``."""
    options = read_options(argv, ListOptions)
    if options is None:
        return None
    environments = (
        [_ask(options.url, "GET", f"{_ENVIRONMENTS}/{quote(options.environment, safe='')}", _Environment)]
        if options.environment
        else _ask(options.url, "GET", _ENVIRONMENTS, list[_Environment])
    )
    found = {
        one.identifier: [
            _described(flag)
            for flag in _ask(options.url, "GET", f"{_ENVIRONMENTS}/{one.id}/flags", list[dict[str, Any]])
        ]
        for one in environments
    }
    if options.json:
        write_json(out, {"environments": found})
    else:
        for name, flags in found.items():
            write_text(out, name, *(f"  {line}" for line in _lines(flags)))
    return ExitCode.OK


def _change(options: FlagOptions, path: str, body: Mapping[str, str], out: TextIO) -> ExitCode:
    changed = _ask(options.url, "POST", path, Flipped, {"environment": options.environment, **body})
    if options.json:
        write_json(out, msgspec.structs.asdict(changed))
    else:
        write_text(out, _in_words(changed))
    return ExitCode.OK


def _ask(url: str, method: str, path: str, wanted: type[_T], body: Mapping[str, Any] | None = None) -> _T:
    """The sandbox's answer; raises ``RequestError`` if it refuses, ``StartupError`` if there is none."""
    try:
        # A sandbox is never behind an outbound proxy.
        with httpx2.Client(trust_env=False, timeout=_PATIENCE) as http:
            answer = http.request(method, f"{url}{path}", json=body)
        if answer.status_code == httpx2.codes.OK:
            return msgspec.json.decode(answer.content, type=wanted)
        refusal = msgspec.json.decode(answer.content, type=_Refusal)
    except (httpx2.TransportError, ValueError, RecursionError) as error:
        raise StartupError(
            f"no sandbox answers at {url}; start one with ff-proxy sandbox, or say -url"
        ) from error
    raise RequestError(answer.status_code, refusal.message)


def _in_words(changed: Flipped) -> str:
    """A changed flag, in words."""
    says = f"{changed.flag} in {changed.environment} is {changed.state}"
    if changed.state == "on" and changed.everyone:
        says += f", and everyone gets {changed.everyone}"
    elif changed.state == "on":
        served = default_variation({"defaultServe": changed.serve})
        says += f" and serves {served or 'by percentage'} by default"
    return f"{says} (version {changed.version})"


def _described(flag: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "flag": str(flag.get("feature")),
        "kind": flag.get("kind"),
        "state": flag.get("state"),
        "default": default_variation(flag) or None,
        "variations": variations_of(flag),
    }


def _lines(flags: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = max((len(flag["flag"]) for flag in flags), default=0)
    for flag in flags:
        default = flag["default"] or "by percentage"
        others = ", ".join(flag["variations"])
        yield f"{flag['flag']:{width}}  {flag['state']!s:3}  {flag['kind']}: {default} (of {others})"
