"""The command line: which command, which mode, and the exit code in which it all ends.

A command's module is imported when the command is called: a probe that runs every few seconds loads no
server.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TextIO

from ff_proxy.config import records
from ff_proxy.config.checks import missing_options
from ff_proxy.config.flags import parse_flags
from ff_proxy.config.load import Loaded, checked
from ff_proxy.config.reference import as_text
from ff_proxy.config.settings import Inputs, Settings, settle
from ff_proxy.config.spelling import nearest
from ff_proxy.errors import ConfigError, ExitCode, FfProxyError
from ff_proxy.runtime.stdio import flush_standard_output, open_standard_files

Run = Callable[[Sequence[str], Mapping[str, str], TextIO], ExitCode]


@dataclass(frozen=True, slots=True)
class Command:
    """A word after ``ff-proxy`` and what it does with the arguments, the environment and standard output."""

    summary: str
    run: Run


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run ``ff-proxy ARGV…`` and return its exit code (see ``ExitCode``); by default this process's own."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    variables = os.environ if environ is None else environ
    open_standard_files()
    try:
        return _dispatch(arguments, variables, sys.stdout)
    except ConfigError as error:
        flush_standard_output()
        if len(error.problems) == 1:
            sys.stderr.write(f"ff-proxy: {error}\n")
        else:
            sys.stderr.write("ff-proxy: the configuration cannot be used:\n")
            sys.stderr.writelines(f"  {problem}\n" for problem in error.problems)
        return error.exit_code
    except FfProxyError as error:
        flush_standard_output()
        sys.stderr.write(f"ff-proxy: {error}\n")
        return error.exit_code
    finally:
        flush_standard_output()


def _dispatch(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode:
    word = _SYNONYMS.get(argv[0], argv[0]) if argv else ""
    if not word or word.startswith("-"):
        return _run_mode(argv, environ, out)
    command = _command(word)
    try:
        code = command.run(argv[1:], environ, out)
    except BrokenPipeError:
        return ExitCode.CRASH  # whoever read has left: there is nobody to tell
    except OSError as error:
        raise FfProxyError(f"{word}: {error}") from error
    if not flush_standard_output():
        raise FfProxyError("standard output cannot be written to")
    return code


def _command(word: str) -> Command:
    command = COMMANDS.get(word)
    if command is None:
        raise ConfigError(f"{word!r}: no such command{nearest(word, list(COMMANDS))}")
    return command


def _run_mode(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode:
    from ff_proxy.runtime.early_signals import leave_on_signals
    from ff_proxy.store.private_files import private_umask

    line = parse_flags(argv, records.ALL)
    if line.wants_help:
        return _overview(out)
    settings = settle(Inputs(line, environ))
    if settings.nothing_given:
        _overview(out)
        names = ", ".join(option.flag for option, _ in missing_options(settings))
        sys.stderr.write(f"ff-proxy: required and missing: {names}\n")
        return ExitCode.BAD_CONFIGURATION
    loaded = checked(settings)
    with leave_on_signals(), private_umask():
        return _mode_runner(loaded)(loaded)


def _mode_runner(loaded: Loaded) -> Callable[[Loaded], ExitCode]:
    module = importlib.import_module(_module_of(loaded.options))
    runner: Callable[[Loaded], ExitCode] = module.run
    return runner


def _module_of(chosen: records.RoleOptions) -> str:
    alone = isinstance(chosen, records.GenerateOptions) or chosen.serving.workers == 1
    return _MODES[type(chosen)] if alone else "ff_proxy.app.supervisor"


def _overview(out: TextIO) -> ExitCode:
    with suppress(OSError):  # whoever has read enough leaves
        out.write("ff-proxy: a relay proxy for Harness Feature Flags\n\n")
        out.write("ff-proxy [flags]            run the proxy\n")
        out.writelines(f"{f'ff-proxy {name}':<26}  {command.summary}\n" for name, command in COMMANDS.items())
        out.write(f"\n{as_text(records.ALL)}")
        out.flush()
    return ExitCode.OK


def _help(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode:
    words = [word for word in argv if not word.startswith("-")]
    if not words or words == ["help"]:
        return _overview(out)
    # What stands behind the command may be a command of its own: sandbox flip.
    return _command(words[0]).run([*words[1:], "-help"], environ, out)


def _about(name: str, out: TextIO, *, proxy_flags: bool) -> ExitCode:
    """The help of a command that has no options of its own."""
    out.write(
        f"ff-proxy {name}{' [flags of the proxy]' if proxy_flags else ''}\n\n{COMMANDS[name].summary}\n"
    )
    if proxy_flags:
        out.write("\nIt reads flags, environment and files as the proxy does: see ff-proxy help.\n")
    return ExitCode.OK


def _with_settings(name: str, run: Callable[[Settings, TextIO], ExitCode]) -> Run:
    """A command that looks at the proxy's own options."""

    def read_and_run(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode:
        line = parse_flags(argv, records.ALL)
        if line.wants_help:
            return _about(name, out, proxy_flags=True)
        return run(settle(Inputs(line, environ)), out)

    return read_and_run


def _health(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode:
    from ff_proxy.commands.health_probe import flags_of_the_container, health

    return _with_settings("health", health)(argv or flags_of_the_container(), environ, out)


def _ready(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode:
    from ff_proxy.commands.health_probe import flags_of_the_container, ready

    return _with_settings("ready", ready)(argv or flags_of_the_container(), environ, out)


def _print_config(settings: Settings, out: TextIO) -> ExitCode:
    from ff_proxy.commands.print_config import print_config

    return print_config(settings, out)


def _without_options(name: str, run: Callable[[TextIO], ExitCode]) -> Run:
    """A command that has nothing to choose."""

    def check_and_run(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode:
        line = parse_flags(argv, ())
        if line.wants_help:
            return _about(name, out, proxy_flags=False)
        if line.problems:
            raise ConfigError(*line.problems)
        return run(out)

    return check_and_run


def _demo(out: TextIO) -> ExitCode:
    from ff_proxy.commands.demo import run_here

    return run_here([], out)


def _validate(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode:
    from ff_proxy.commands.validate import validate

    return validate(argv, out)


def _explain(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode:
    from ff_proxy.commands.explain import explain

    return explain(argv, environ, out)


def _sandbox(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode:
    from ff_proxy.commands.sandbox import sandbox

    return sandbox(argv, out)


def _version(out: TextIO) -> ExitCode:
    from ff_proxy.commands.version import version

    return version(out)


COMMANDS: Final[Mapping[str, Command]] = {
    "health": Command("whether the proxy on this machine lives, for container probes", _health),
    "ready": Command("whether it is ready for SDKs, for container probes", _ready),
    "print-config": Command(
        "effective value and source of every option, secrets masked",
        _with_settings("print-config", _print_config),
    ),
    "validate": Command("check an offline directory: every problem with file and place", _validate),
    "explain": Command(
        "why a target gets a flag's variation, step by step, from an offline directory", _explain
    ),
    "sandbox": Command("a small Harness for development and tests; sandbox flip changes a flag", _sandbox),
    "demo": Command(
        "a sandbox, the proxy and a real SDK, and a flag that flips", _without_options("demo", _demo)
    ),
    "version": Command("which version this is", _without_options("version", _version)),
    "help": Command("this text; help COMMAND: how a command is called", _help),
}
_SYNONYMS: Final = {"-version": "version", "--version": "version"}

# The modules of ``modes`` by what they run.
_MODES: Final[Mapping[type[Any], str]] = {
    records.OnlineOptions: "ff_proxy.app.online",
    records.ReplicaOptions: "ff_proxy.app.replica",
    records.OfflineOptions: "ff_proxy.app.offline",
    records.GenerateOptions: "ff_proxy.app.generate",
}
