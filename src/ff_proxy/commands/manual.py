"""``ff-proxy man``: the manual page, from the same declarations as the help."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, TextIO

from ff_proxy import __version__
from ff_proxy.commands.command_line import NoOptions, read_options
from ff_proxy.commands.registry import COMMANDS
from ff_proxy.config.declare import Option
from ff_proxy.config.records import ALL
from ff_proxy.config.reference import SOURCES
from ff_proxy.errors import ExitCode

_EXIT: Final = (
    ("0", "ended by a signal, or done"),
    ("1", "failed; a supervisor may start it again"),
    ("2", "invalid options; every problem was printed"),
    ("3", "cannot start: port or data directory in use, unusable certificate or directory"),
)
_SIGNALS: Final = (
    ("SIGTERM, SIGINT, SIGQUIT", "end in order; a second one at once"),
    ("SIGHUP", "read certificates and files of options again"),
    ("SIGUSR1", "log every task and what it waits for"),
)


def run(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Write the page as troff; ``None`` if help is requested."""
    if read_options(argv, NoOptions) is None:
        return None
    out.writelines(f"{line}\n" for line in page())
    return ExitCode.OK


def page() -> Iterator[str]:
    """The lines of ff-proxy(1)."""
    yield f'.TH FF\\-PROXY 1 "" "ff\\-proxy {_escaped(__version__)}" "User Commands"'
    yield ".SH NAME"
    yield "ff\\-proxy \\- relay proxy for Harness Feature Flags"
    yield ".SH SYNOPSIS"
    yield ".B ff\\-proxy"
    yield "[flags]"
    for name, command in COMMANDS.items():
        yield ".br"
        yield f".B ff\\-proxy {_escaped(name)}"
        flags = "[flags]" if command.options() else ""
        yield _escaped(" ".join(filter(None, (command.words, flags)))) or "\\&"
    yield ".SH DESCRIPTION"
    yield _escaped(f"Without a command the proxy runs. {SOURCES} Flags may be written with two dashes.")
    yield ".SH COMMANDS"
    for name, command in COMMANDS.items():
        yield from _entry(f"{name} {command.words}".strip(), f"{command.summary}.")
        for line in command.about.splitlines():
            yield ".br"
            yield _escaped(line)
        own = command.own_options()
        if own:
            yield ".RS"
            yield from _options(own, variables=False)
            yield ".RE"
    yield ".SH OPTIONS"
    for section, options in groupby(ALL, key=lambda one: one.section):
        yield f".SS {_escaped(section)}"
        yield from _options(options, variables=True)
    yield ".SH EXIT STATUS"
    for code, meaning in _EXIT:
        yield from _entry(code, f"{meaning}.")
    yield ".SH SIGNALS"
    for name, meaning in _SIGNALS:
        yield from _entry(name, f"{meaning}.")


def _options(options: Iterable[Option[Any]], *, variables: bool) -> Iterator[str]:
    for option in options:
        value = "" if option.kind.standalone else f" {option.kind.name}"
        names = ", ".join(f"-{name}" for name in option.names)
        facts = [f"environment variable {option.env}"] if variables else []
        if option.shown_default not in {"", "false"}:
            facts.append(f"default {option.shown_default}")
        behind = f" ({'; '.join(facts)})" if facts else ""
        yield from _entry(f"{names}{value}", f"{option.meaning}{behind}.")


def _entry(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield f".B {_escaped(term)}"
    yield _escaped(text)


def _escaped(text: str) -> str:
    """``text``, so that troff keeps hyphens and takes no line for a request."""
    shown = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown
