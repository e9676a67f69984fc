"""``ff-proxy health`` and ``ff-proxy ready``: check the proxy on this machine, for container probes.

They read the options of the proxy to find its address, port and TLS. Without flags, they use those of the
proxy that the container runs.
"""

import http.client
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from ff_proxy.commands import local_proxy
from ff_proxy.commands.command_line import JsonOptions, read_as_in_container
from ff_proxy.config.settings import Settings
from ff_proxy.errors import ConfigError, ExitCode


def health(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy health ARGV…``: is the process alive? ``None`` if help is requested."""
    return _run("health", "/health/live", argv, environ, out)


def ready(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy ready ARGV…``: is it ready for SDKs? ``None`` if help is requested."""
    return _run("ready", "/health/ready", argv, environ, out)


def _run(
    name: str, path: str, argv: Sequence[str], environ: Mapping[str, str], out: TextIO
) -> ExitCode | None:
    read = read_as_in_container(argv, environ, JsonOptions)
    return None if read is None else probe(name, path, read[1], out, as_json=read[0].json)


def probe(name: str, path: str, settings: Settings, out: TextIO, *, as_json: bool = False) -> ExitCode:
    """Ask, print the answer, and return exit code 0 or 1. Raises ``ConfigError`` for unusable options."""
    if settings.problems:
        raise ConfigError(*settings.problems)
    if not settings["port"] and not isinstance(settings["host"], Path):
        raise ConfigError("port: must be a port that is known beforehand, 0 is not")
    place = local_proxy.place_of(settings)
    status, answer, why = 0, "", ""
    try:
        status, answer = local_proxy.get(settings, path)
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
    good = status == http.client.OK
    if as_json:
        said = {"ok": good, "address": place, "status": status, "answer": answer, "error": why}
        out.write(f"{json.dumps(said)}\n")
    elif why:
        out.write(f"{name}: no answer from {place}: {why}\n")
    else:
        out.write(f"{name}: {status} {answer}\n")
    return ExitCode.OK if good else ExitCode.CRASH
