"""``ff-proxy health`` and ``ff-proxy ready``: ask the proxy on this machine how it is, for container probes.

They read the same options as the proxy does, so that a container's environment tells them address, port and
TLS. Where they are called without flags, the flags are those of the proxy that the container runs.
"""

import http.client
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

from ff_proxy.commands import local_proxy
from ff_proxy.commands.command_line import NoOptions, read_with_settings
from ff_proxy.config.settings import Settings
from ff_proxy.errors import ConfigError, ExitCode

PATIENCE: Final = 5.0  # seconds


def run_health(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy health ARGV…``; ``None`` if help is asked for."""
    return _run(health, argv, environ, out)


def run_ready(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy ready ARGV…``; ``None`` if help is asked for."""
    return _run(ready, argv, environ, out)


def health(settings: Settings, out: TextIO) -> ExitCode:
    """Whether the process lives; exit code 0 or 1. Raises ``ConfigError`` for unusable options."""
    return _probe("health", "/health/live", settings, out)


def ready(settings: Settings, out: TextIO) -> ExitCode:
    """Whether SDKs can be sent here; exit code 0 or 1. Raises ``ConfigError`` for unusable options."""
    return _probe("ready", "/health/ready", settings, out)


def flags_of_the_container(command_line: Path = Path("/proc/1/cmdline")) -> list[str]:
    """The flags that ``docker run`` gave to the proxy, which a container's probe is not told.

    Empty where process 1 is something else than ``ff-proxy FLAGS…``, or hidden.
    """
    try:
        words = os.fsdecode(command_line.read_bytes()).split("\0")[:-1]
    except OSError:
        return []
    programs = [number for number, word in enumerate(words) if Path(word).name == "ff-proxy"]
    return words[programs[-1] + 1 :] if programs else []


def _run(
    probe: Callable[[Settings, TextIO], ExitCode],
    argv: Sequence[str],
    environ: Mapping[str, str],
    out: TextIO,
) -> ExitCode | None:
    read = read_with_settings(argv or flags_of_the_container(), environ, NoOptions)
    return None if read is None else probe(read[1], out)


def _probe(name: str, path: str, settings: Settings, out: TextIO) -> ExitCode:
    if settings.problems:
        raise ConfigError(*settings.problems)
    if not settings["port"] and not isinstance(settings["host"], Path):
        raise ConfigError("port: must be a port that is known beforehand, 0 is not")
    try:
        status, answer = local_proxy.get(settings, path, PATIENCE)
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        out.write(f"{name}: no answer from {local_proxy.place_of(settings)}: {why}\n")
        return ExitCode.CRASH
    out.write(f"{name}: {status} {answer}\n")
    return ExitCode.OK if status == http.client.OK else ExitCode.CRASH
