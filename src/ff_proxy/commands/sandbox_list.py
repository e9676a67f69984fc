"""``ff-proxy sandbox list``: the flags of a running sandbox, and what they are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO
from urllib.parse import quote

from ff_proxy.commands.command_line import read_options
from ff_proxy.commands.output import write_json, write_text
from ff_proxy.commands.sandbox_client import URL, ask
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option
from ff_proxy.errors import ExitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """The command's options."""

    environment: str = option(kinds.TEXT, "", "Environment, by id or identifier; without it, all of them")
    url: str = option(kinds.URL, URL, "Where the sandbox is")
    json: bool = option(kinds.BOOLEAN, False, "One JSON object instead of text")


def run(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy sandbox list ARGV…``; ``None`` if help is asked for.

    Raises ``ConfigError`` for a command line that cannot be used, ``RequestError`` for an unknown
    environment, ``StartupError`` if there is no sandbox.
    """
    options = read_options(argv, ListOptions)
    if options is None:
        return None
    path = "/sandbox/environments"
    environments = (
        [ask(options.url, "GET", f"{path}/{quote(options.environment, safe='')}")]
        if options.environment
        else ask(options.url, "GET", path)
    )
    found = {one["identifier"]: ask(options.url, "GET", f"{path}/{one['id']}/flags") for one in environments}
    if options.json:
        listed = {name: [_described(flag) for flag in flags] for name, flags in found.items()}
        write_json(out, {"environments": listed})
        return ExitCode.OK
    for name, flags in found.items():
        write_text(out, name, *(f"  {line}" for line in _lines([_described(flag) for flag in flags])))
    return ExitCode.OK


def _described(flag: Mapping[str, Any]) -> dict[str, Any]:
    served = flag.get("defaultServe") or {}
    return {
        "flag": flag["feature"],
        "kind": flag.get("kind"),
        "state": flag.get("state"),
        "default": served.get("variation"),
        "variations": [variation["identifier"] for variation in flag.get("variations", ())],
    }


def _lines(flags: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = max((len(flag["flag"]) for flag in flags), default=0)
    for flag in flags:
        default = flag["default"] or "by percentage"
        others = ", ".join(flag["variations"])
        yield f"{flag['flag']:{width}}  {flag['state']:3}  {flag['kind']}: {default} (of {others})"
