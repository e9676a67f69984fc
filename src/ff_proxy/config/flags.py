"""The command line, parsed as by Go's ``flag`` package, with every problem collected.

See spec/behaviour#options.

``-name value``, ``-name=value`` and the same with two dashes; a boolean stands alone or takes ``=true`` and
the like, never the next word. The last of several values wins, unless the option joins them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ff_proxy.config.declare import Option
from ff_proxy.config.given import Reading, Source
from ff_proxy.config.spelling import nearest

HELP: Final = frozenset({"h", "help"})


@dataclass(slots=True)
class CommandLine:
    """A parsed command line: values, words that are not flags, whether it asks for help, problems.

    ``has_unknown_flags``: an option that seems to be missing may be there under a mistyped name.
    """

    reading: Reading = field(default_factory=Reading)
    words: list[str] = field(default_factory=list)
    wants_help: bool = False
    has_unknown_flags: bool = False

    @property
    def problems(self) -> list[str]:
        """The problems of the command line."""
        return self.reading.problems


def parse_flags(argv: Sequence[str], options: Iterable[Option[Any]], *, words: int = 0) -> CommandLine:
    """Parse ``argv``: flags of ``options`` and at most ``words`` other words, in any order."""
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
            self._add(option, name, text)
        elif option.kind.standalone:
            self._add(option, name, "true")
        elif not rest:
            self._line.problems.append(f"{option.flag}: a value must follow -{name}")
        elif self._is_flag(rest[0]):
            # An empty shell variable vanishes from the command line, so the next flag follows.
            self._line.problems.append(
                f"{option.flag}: a value must follow -{name}, not {_flag_only(rest[0])}"
            )
        else:
            self._add(option, name, rest.pop(0))
        return option

    def _unknown(self, name: str, text: str | None, rest: list[str]) -> None:
        if name in HELP:
            self._line.wants_help = True
            return
        hint = nearest(name, list(self._options), prefix="-")
        self._line.problems.append(f"-{name}: no such flag{hint}")
        self._line.has_unknown_flags = True
        if text is None and rest and not rest[0].startswith("-"):
            rest.pop(0)  # most likely its value, so report one problem only

    def _add(self, option: Option[Any], name: str, text: str) -> None:
        self._line.reading.add(option, text, Source.FLAG, f"flag -{name}")

    def _word(self, word: str, previous: Option[Any] | None) -> None:
        if len(self._line.words) < self._words:
            self._line.words.append(word)
        elif previous is None:
            self._line.problems.append(f"{word!r}: unexpected word; flags begin with -")
        elif previous.kind.standalone:
            self._line.problems.append(
                f"{previous.flag}: the word {word!r} after it is not its value; write -{previous.flag}={word}"
            )
        else:
            # It may be the second half of a secret, so it is not repeated.
            self._line.problems.append(
                f"{previous.flag}: unexpected word after its value; quote values that contain spaces"
            )

    def _is_flag(self, argument: str) -> bool:
        return argument.startswith("-") and _flag_only(argument).lstrip("-") in self._options


def _flag_only(argument: str) -> str:
    return argument.partition("=")[0]
