"""``ff-proxy sandbox``: run a Harness of one's own until it is told to stop."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ff_proxy.commands.command_line import read_options
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option
from ff_proxy.errors import ExitCode
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.problems import Severity
from ff_proxy.runtime.event_loop import run
from ff_proxy.runtime.signals import stop_on_signals
from ff_proxy.sandbox.directory import environments_in
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.server import serve
from ff_proxy.sandbox.startup_message import as_record, greeting
from ff_proxy.sandbox.state import SandboxState


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """The command's options."""

    port: int = option(kinds.PORT, 7100, "Port to listen on; 0 lets the system choose one")
    host: str = option(kinds.TEXT, "127.0.0.1", "Address to listen on")
    config_dir: Path | None = option(
        kinds.PATH, None, "Offline directory to serve instead of the built-in environments"
    )
    json: bool = option(kinds.BOOLEAN, False, "Print one line of JSON when ready, for programs")


def sandbox(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy sandbox ARGV…`` and write what it says to ``out``; ``None`` if help is asked for.

    Raises ``ConfigError`` for a command line that cannot be used, ``StartupError`` for an address that
    cannot be had, ``OfflineDataError`` for a directory that cannot be served.
    """
    options = read_options(argv, SandboxOptions)
    if options is None:
        return None
    state = SandboxState(_environments(options.config_dir))
    run(_run(state, options, out))
    return ExitCode.OK


def _environments(directory: Path | None) -> list[Environment]:
    if directory is None:
        return default_environments()
    reading = read_directory(directory)
    for problem in [*reading.problems, *(one for part in reading.readings for one in part.problems)]:
        if problem.severity is Severity.BROKEN:
            raise problem.as_error()
        # Not among what the command says: a program may be reading that.
        sys.stderr.write(f"{problem}\n")
    return environments_in(directory)


async def _run(state: SandboxState, options: SandboxOptions, out: TextIO) -> None:
    with stop_on_signals() as stop:
        async with serve(state, options.host, options.port) as running:
            words = json.dumps(as_record(running)) if options.json else greeting(running)
            print(words, file=out, flush=True)
            await stop.requested.wait()
