"""The commands, with their help; a command's module is loaded when it is called."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from ff_proxy.config.declare import Option, options_of
from ff_proxy.config.records import ALL
from ff_proxy.config.reference import usage
from ff_proxy.errors import ExitCode

Run = Callable[[Sequence[str], Mapping[str, str], TextIO], ExitCode | None]
"""Runs a command: arguments, environment, standard output. Returns ``None`` if help is requested."""

_PROXY_OPTIONS: Final = "It reads flags, environment and files as the proxy does: see ff-proxy help."
_SERVED: Final = "Exit code: 0; 1 if not, or if nothing answers; 2 for invalid options."
_COMMAND_LINE: Final = "Exit code: 0; 2 for an invalid command line."


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the one or two words after ``ff-proxy``.

    ``summary`` is one line for lists, ``about`` the rest of its help. ``entry`` and ``record`` are
    ``module:name`` of the ``Run`` and of the record that declares the options. ``words`` describes its
    arguments, ``choices`` are their possible values.
    """

    summary: str
    entry: str
    record: str = "command_line:NoOptions"
    about: str = _COMMAND_LINE
    words: str = ""
    choices: tuple[str, ...] = ()
    proxy_options: bool = False

    def run(self, argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
        """Run it; ``None`` if help is requested."""
        entry: Run = _load(self.entry)
        return entry(argv, environ, out)

    def own_options(self) -> tuple[Option[Any], ...]:
        """The options that only this command has."""
        return options_of(_load(self.record))

    def options(self) -> tuple[Option[Any], ...]:
        """All its options."""
        return (*self.own_options(), *(ALL if self.proxy_options else ()))

    def help(self, name: str) -> str:
        """Its help: usage, purpose, options and exit codes."""
        call = " ".join(
            filter(None, ("ff-proxy", name, self.words, "[flags of the proxy]" if self.proxy_options else ""))
        )
        summary = f"{self.summary[0].upper()}{self.summary[1:]}."
        about = "\n".join(filter(None, (_PROXY_OPTIONS if self.proxy_options else "", self.about)))
        return f"{usage(call, _load(self.record), summary)}\n\n{about}\n"


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"ff_proxy.commands.{module}"), name)


COMMANDS: Final[Mapping[str, Command]] = {
    "health": Command(
        "check that the proxy on this machine is alive, for container probes",
        "health_probe:health",
        record="command_line:JsonOptions",
        about=_SERVED,
        proxy_options=True,
    ),
    "ready": Command(
        "check that the proxy on this machine is ready for SDKs, for container probes",
        "health_probe:ready",
        record="command_line:JsonOptions",
        about=_SERVED,
        proxy_options=True,
    ),
    "doctor": Command(
        "check everything that the proxy needs, with advice for each problem",
        "doctor.command:run",
        record="doctor.command:DoctorOptions",
        about="Exit code: 0, or 1 if there is a problem.",
        proxy_options=True,
    ),
    "print-config": Command(
        "effective value and source of every option, secrets masked",
        "print_config:run",
        record="command_line:JsonOptions",
        about="Exit code: 0; 2 if the options are invalid.",
        proxy_options=True,
    ),
    "validate": Command(
        "check an offline directory: every problem with file and place",
        "validate:run",
        record="command_line:JsonOptions",
        about="Exit code: 0 if it can be served; 2 if anything in it cannot; 3 if it cannot be read.",
        words="DIR",
    ),
    "explain": Command(
        "why a target gets a flag's variation, step by step; the last line is what SDKs get",
        "explain:explain",
        record="explain:ExplainOptions",
        about=(
            "Name one place to look at: -config-dir, -data-dir, -redis-address or -url.\n"
            "Exit code: 0; 1 if the place does not answer; 2 if nothing is found; 3 if it cannot be read."
        ),
    ),
    "compare": Command(
        "send the requests of SDKs to two proxies, and show where their answers differ",
        "compare.command:run",
        record="compare.command:CompareOptions",
        about=(
            "Differences that docs/compatibility.md lists are counted, and shown with -all.\n"
            "Exit code: 0; 1 for another difference, or a proxy that does not answer; 2 for invalid options."
        ),
        words="OLD NEW",
    ),
    "sandbox": Command(
        "a small Harness for development and tests",
        "sandbox:sandbox",
        record="sandbox:SandboxOptions",
        about="Ctrl-C ends it. Exit code: 0; 2 for an invalid command line; 3 if it cannot start.",
    ),
    "sandbox flip": Command(
        "change a flag of a running sandbox",
        "sandbox_flags:flip",
        record="sandbox_flags:FlipOptions",
        about=(
            "Without -on, -off and -serve it is turned on if it is off, and off if it is on.\n"
            "Exit code: 0; 1 if the sandbox refuses; 2 for a bad command line; 3 if there is no sandbox."
        ),
        words="FLAG",
    ),
    "sandbox set": Command(
        "set what everyone gets for a flag of a running sandbox",
        "sandbox_flags:set_value",
        record="sandbox_flags:FlagOptions",
        about=(
            "VALUE: on, off, a variation for everyone whatever the rules say, or rules to restore those.\n"
            "Exit code: 0; 1 if the sandbox refuses; 2 for a bad command line; 3 if there is no sandbox."
        ),
        words="FLAG VALUE",
    ),
    "sandbox list": Command(
        "list the flags of a running sandbox",
        "sandbox_flags:list_flags",
        record="sandbox_flags:ListOptions",
        about="Exit code: 0; 1 for an unknown environment; 2 for bad flags; 3 if there is no sandbox.",
    ),
    "demo": Command(
        "a sandbox, the proxy and a real SDK, and a flag that flips",
        "demo:run",
        about="Exit code: 0; 1 if a step fails; 3 if the Python SDK is not installed.",
    ),
    "completion": Command(
        "print a script that completes commands and flags in a shell",
        "completion:run",
        about=(
            'bash: eval "$(ff-proxy completion bash)" in ~/.bashrc\n'
            'zsh:  eval "$(ff-proxy completion zsh)" in ~/.zshrc, behind compinit\n'
            "fish: ff-proxy completion fish > ~/.config/fish/completions/ff-proxy.fish"
        ),
        words="bash|zsh|fish",
        choices=("bash", "zsh", "fish"),
    ),
    "man": Command(
        "the manual page: ff-proxy man > ff-proxy.1; man ./ff-proxy.1",
        "manual:run",
    ),
    "version": Command("which version this is", "version:run", record="command_line:JsonOptions"),
}
