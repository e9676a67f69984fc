"""A value as a source gives it, before it is read."""

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

from ff_proxy.config.declare import Option


class Source(IntEnum):
    """Where values come from; a lower number is stronger (spec/behaviour#options)."""

    FLAG = 0
    ENVIRONMENT = 1
    ENV_FILE = 2
    CONFIG_FILE = 3


@dataclass(frozen=True, slots=True)
class Given:
    """The trimmed, non-empty ``text`` for ``option``; ``place`` says where it stands, for people.

    ``untrimmed`` is the text with the white space around it. ``file`` is the file that holds it, where a
    variable names one (``NAME_FILE``).
    """

    option: Option[Any]
    text: str
    source: Source
    place: str
    untrimmed: str
    file: Path | None = None

    def __repr__(self) -> str:
        # The text may be a secret, and no log needs it.
        return f"Given({self.option.flag}, {self.place})"


@dataclass(slots=True)
class Reading:
    """What one source holds, what is wrong with it, and what is ignored.

    ``files`` are those that were to be read for it, whether they could be or not.
    """

    given: list[Given] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def add(
        self, option: Option[Any], text: str, source: Source, place: str, file: Path | None = None
    ) -> None:
        """Note a value; one that is empty but for spaces means unset (spec/behaviour#options)."""
        if trimmed := text.strip():
            self.given.append(Given(option, trimmed, source, place, text, file))

    def without_doubles(self) -> Self:
        """The reading itself, with a problem for each option that has a value and a file beside it."""
        files = {given.option.flag: given.option for given in self.given if given.file is not None}
        for given in self.given:
            option = files.get(given.option.flag)
            if option is not None and given.file is None and not option.kind.joined:
                del files[option.flag]
                self.problems.append(
                    f"{option.flag}: {option.env} and {option.env_file} are both set; leave one of them out"
                )
        return self
