"""``ff-proxy health`` and ``ff-proxy ready``: ask the proxy on this machine how it is, for container probes.

They read the same options as the proxy does, so that a container's environment tells them address, port and
TLS. Where they are called without flags, the flags are those of the proxy that the container runs.
"""

import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from ff_proxy.commands import local_proxy
from ff_proxy.commands.command_line import read_as_in_container
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option
from ff_proxy.config.settings import Settings
from ff_proxy.errors import ConfigError, ExitCode

PATIENCE: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """The commands' own options."""

    json: bool = option(kinds.BOOLEAN, False, "One JSON object instead of text")


def run_health(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy health ARGV…``; ``None`` if help is asked for."""
    return _run(health, argv, environ, out)


def run_ready(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy ready ARGV…``; ``None`` if help is asked for."""
    return _run(ready, argv, environ, out)


def health(settings: Settings, out: TextIO, *, as_json: bool = False) -> ExitCode:
    """Whether the process lives; exit code 0 or 1. Raises ``ConfigError`` for unusable options."""
    return _probe("health", "/health/live", settings, out, as_json=as_json)


def ready(settings: Settings, out: TextIO, *, as_json: bool = False) -> ExitCode:
    """Whether SDKs can be sent here; exit code 0 or 1. Raises ``ConfigError`` for unusable options."""
    return _probe("ready", "/health/ready", settings, out, as_json=as_json)


def _run(
    probe: Callable[..., ExitCode],
    argv: Sequence[str],
    environ: Mapping[str, str],
    out: TextIO,
) -> ExitCode | None:
    read = read_as_in_container(argv, environ, ProbeOptions)
    if read is None:
        return None
    options, settings = read
    return probe(settings, out, as_json=options.json)


def _probe(name: str, path: str, settings: Settings, out: TextIO, *, as_json: bool) -> ExitCode:
    if settings.problems:
        raise ConfigError(*settings.problems)
    if not settings["port"] and not isinstance(settings["host"], Path):
        raise ConfigError("port: must be a port that is known beforehand, 0 is not")
    place = local_proxy.place_of(settings)
    status, answer, why = 0, "", ""
    try:
        status, answer = local_proxy.get(settings, path, PATIENCE)
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
