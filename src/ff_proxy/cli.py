"""The command line: which command, which mode, and the exit code in which it all ends.

A command's module is imported when the command is called: a probe that runs every few seconds loads no
server.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TextIO

from ff_proxy.commands.registry import COMMANDS
from ff_proxy.config import records
from ff_proxy.config.checks import missing_options
from ff_proxy.config.flags import parse_flags
from ff_proxy.config.load import Loaded, checked
from ff_proxy.config.reference import as_text
from ff_proxy.config.settings import Inputs, resolve_settings
from ff_proxy.config.spelling import nearest
from ff_proxy.errors import ConfigError, ExitCode, FfProxyError
from ff_proxy.runtime.early_signals import leave_on_signals, signals_deferred
from ff_proxy.runtime.gc_tuning import without_gc
from ff_proxy.runtime.stdio import flush_standard_output, open_standard_files


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
    try:
        code = _run_command([word, *argv[1:]], environ, out)
    except BrokenPipeError:
        return ExitCode.CRASH  # whoever read has left: there is nobody to tell
    except OSError as error:
        raise FfProxyError(f"{word}: {error}") from error
    if not flush_standard_output():
        raise FfProxyError("standard output cannot be written to")
    return code


def _run_command(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode:
    if argv[0] == _HELP:
        return _help(argv[1:], out)
    name, rest = _split(argv)
    code = COMMANDS[name].run(rest, environ, out)
    return _help([*name.split()], out) if code is None else code


def _split(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command that is meant, of one word or two, and what stands behind it."""
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return name, words[length:]
    raise ConfigError(f"{words[0]!r}: no such command{nearest(words[0], [*COMMANDS, _HELP])}")


def _run_mode(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode:
    from ff_proxy.store.private_files import private_umask

    line = parse_flags(argv, records.ALL)
    if line.wants_help:
        return _overview(out)
    settings = resolve_settings(Inputs(line, environ))
    if settings.nothing_given:
        _overview(out)
        names = ", ".join(option.flag for option, _ in missing_options(settings))
        sys.stderr.write(f"ff-proxy: required and missing: {names}\n")
        return ExitCode.BAD_CONFIGURATION
    loaded = checked(settings)
    with leave_on_signals(), private_umask():
        return _run_proxy(loaded)


def _run_proxy(loaded: Loaded) -> ExitCode:
    options = loaded.options
    if isinstance(options, records.GenerateOptions) or options.serving.workers == 1:
        with signals_deferred(), without_gc():
            from ff_proxy.app.run import run_single

        return run_single(loaded)
    with signals_deferred(), without_gc():
        from ff_proxy.app.supervisor import supervise

    return supervise(loaded)


def _overview(out: TextIO) -> ExitCode:
    with suppress(OSError):  # whoever has read enough leaves
        out.write("ff-proxy: a relay proxy for Harness Feature Flags\n\n")
        out.write("ff-proxy [flags]            run the proxy\n")
        listed = [*((name, command.summary) for name, command in COMMANDS.items()), (_HELP, _HELP_SUMMARY)]
        out.writelines(f"{f'ff-proxy {name}':<26}  {summary}\n" for name, summary in listed)
        out.write(f"\n{_EXIT_CODES}\n")
        out.write(f"\n{as_text(records.ALL)}")
        out.flush()
    return ExitCode.OK


def _help(argv: Sequence[str], out: TextIO) -> ExitCode:
    words = [word for word in argv if not word.startswith("-")]
    if not words or words == ["help"]:
        return _overview(out)
    name, _ = _split(words)
    out.write(COMMANDS[name].help(name))
    return ExitCode.OK


_EXIT_CODES: Final = "Exit codes: 0 ok, 1 crash or failure, 2 invalid options, 3 cannot start."
_SYNONYMS: Final = {"-version": "version", "--version": "version"}
_HELP: Final = "help"
_HELP_SUMMARY: Final = "this text; help COMMAND: how a command is called"
