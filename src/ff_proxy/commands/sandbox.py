"""``ff-proxy sandbox``: run a small Harness until it is stopped."""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ff_proxy.commands.child_process import ready_proxy
from ff_proxy.commands.command_line import read_options
from ff_proxy.commands.sandbox_message import as_record, greeting, proxy_options, server_keys
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option
from ff_proxy.errors import ConfigError, ExitCode, StartupError
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.problems import Severity
from ff_proxy.offline.watcher import system_notices
from ff_proxy.runtime.event_loop import run
from ff_proxy.runtime.signals import stop_on_signals
from ff_proxy.sandbox.directory_follower import DirectoryFollower
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.server import serve
from ff_proxy.sandbox.state import SandboxState


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """The command's options."""

    port: int = option(kinds.PORT, 7100, "Port to listen on; 0 lets the system choose one")
    host: str = option(kinds.TEXT, "127.0.0.1", "Address to listen on")
    config_dir: Path | None = option(
        kinds.PATH, None, "Offline directory to serve instead of the built-in environments"
    )
    proxy: bool = option(kinds.BOOLEAN, False, "Also run a proxy in front of it, for SDKs")
    proxy_port: int = option(kinds.PORT, 7000, "Port of that proxy")
    json: bool = option(kinds.BOOLEAN, False, "Print one line of JSON when ready, for programs")


def sandbox(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy sandbox ARGV…``; ``None`` if help is requested.

    Raises ``ConfigError`` for an invalid command line, ``StartupError`` if the address is in use,
    ``OfflineDataError`` if the directory cannot be served.
    """
    options = read_options(argv, SandboxOptions)
    if options is None:
        return None
    follower = DirectoryFollower(options.config_dir, system_notices, _warn) if options.config_dir else None
    if options.config_dir is not None:
        _report_problems(options.config_dir)
    state = SandboxState(follower.load() if follower else default_environments())
    run(_run(state, follower, options, out))
    return ExitCode.OK


def _warn(line: str) -> None:
    # Not on standard output: a program may be reading that.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _report_problems(directory: Path) -> None:
    reading = read_directory(directory)
    for problem in reading.all_problems:
        if problem.severity is Severity.BROKEN:
            raise problem.as_error()
        _warn(str(problem))


async def _run(
    state: SandboxState, follower: DirectoryFollower | None, options: SandboxOptions, out: TextIO
) -> None:
    with stop_on_signals() as stop:
        async with serve(state, options.host, options.port) as running, contextlib.AsyncExitStack() as more:
            ends: list[Coroutine[Any, Any, object]] = [stop.requested.wait()]
            if follower is not None:
                ends.append(follower.run(running))
            proxy_url = ""
            if options.proxy:
                _check_free(options.proxy_port)
                wanted = dict(proxy_options(running, server_keys(running)))
                proxy, proxy_url = await more.enter_async_context(ready_proxy(wanted, options.proxy_port))
                ends.append(proxy.until_failure())
            words = (
                json.dumps(as_record(running, proxy_url)) if options.json else greeting(running, proxy_url)
            )
            print(words, file=out, flush=True)
            await _first(ends)


def _check_free(port: int) -> None:
    """Raise an error if the port is in use."""
    if not port:
        raise ConfigError("proxy-port: 0 is not possible, since SDKs have to know the port")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StartupError(
                f"port {port} for the proxy is in use or reserved; try another -proxy-port"
            ) from error


async def _first(waits: Sequence[Coroutine[Any, Any, object]]) -> None:
    """Wait until one of them ends; raises what it raised."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        over, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in over:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
