"""The command line, read as Go's ``flag`` package does, with every problem collected (PRODUCT §2).

``-name value``, ``-name=value`` and the same with two dashes; a boolean stands alone or takes ``=true`` and
the like, never the next word. The last of several wins, except for options whose values are joined.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ff_proxy.config.given import Given, Source, nearest
from ff_proxy.config.option import Option

HELP: Final = frozenset({"h", "help"})


@dataclass(slots=True)
class CommandLine:
    """What a command line says: values, words that are no flags, whether help is asked for, what is wrong."""

    given: list[Given] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    wants_help: bool = False
    problems: list[str] = field(default_factory=list)


def parse_flags(argv: Sequence[str], options: Iterable[Option[Any]], *, words: int = 0) -> CommandLine:
    """Read ``argv``, which holds flags of ``options`` and at most ``words`` other words, in any order."""
    return _Parser(options, words).parse(argv)


class _Parser:
    def __init__(self, options: Iterable[Option[Any]], words: int) -> None:
        self._options = {name: option for option in options for name in option.names}
        self._words = words
        self._line = CommandLine()

    def parse(self, argv: Sequence[str]) -> CommandLine:
        rest = list(argv)
        previous: Option[Any] | None = None
        while rest:
            argument = rest.pop(0)
            if argument == "--":
                for word in rest:
                    self._word(word, None)
                break
            match = re.fullmatch(r"--?([^-=\s][^=\s]*)(?:=(.*))?", argument, re.DOTALL)
            if match is None:
                self._word(argument, previous)
                continue
            name, text = match.groups()
            previous = self._flag(name, text, rest)
        return self._line

    def _flag(self, name: str, text: str | None, rest: list[str]) -> Option[Any] | None:
        option = self._options.get(name)
        if option is None:
            self._unknown(name, text, rest)
        elif text is not None:
            self._take(option, name, text)
        elif option.is_boolean:
            self._take(option, name, "true")
        elif not rest:
            self._line.problems.append(f"{option.flag}: a value must follow -{name}")
        elif self._is_flag(rest[0]):
            # An empty shell variable vanishes from the command line and leaves the next flag in its place.
            self._line.problems.append(f"{option.flag}: a value must follow -{name}, not {_bare(rest[0])}")
        else:
            self._take(option, name, rest.pop(0))
        return option

    def _unknown(self, name: str, text: str | None, rest: list[str]) -> None:
        if name in HELP:
            self._line.wants_help = True
            return
        hint = nearest(name, list(self._options), prefix="-")
        self._line.problems.append(f"-{name}: no such flag{hint}")
        if text is None and rest and not rest[0].startswith("-"):
            rest.pop(0)  # most likely its value: one mistake, one problem

    def _take(self, option: Option[Any], name: str, text: str) -> None:
        if trimmed := text.strip():
            self._line.given.append(Given(option, trimmed, Source.FLAG, f"flag -{name}"))

    def _word(self, word: str, previous: Option[Any] | None) -> None:
        if len(self._line.words) < self._words:
            self._line.words.append(word)
        elif previous is None:
            self._line.problems.append(f"{word!r}: an unexpected word; flags begin with -")
        elif previous.is_boolean:
            self._line.problems.append(
                f"{previous.flag}: the word {word!r} after it is not its value; write -{previous.flag}={word}"
            )
        else:
            # It may be the second half of a secret, so it is not repeated.
            self._line.problems.append(
                f"{previous.flag}: a word too many after its value; put a value with spaces in quotes"
            )

    def _is_flag(self, argument: str) -> bool:
        return argument.startswith("-") and _bare(argument).lstrip("-") in self._options


def _bare(argument: str) -> str:
    return argument.partition("=")[0]
