"""A value as a source gives it, before it is parsed."""

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
    """The trimmed, non-empty ``text`` for ``option``; ``place`` says where it was found.

    ``untrimmed`` is the text with surrounding white space. ``file`` is the file that contains it, if a
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
    """What one source gives, with problems and warnings.

    ``files`` are the files it names, readable or not.
    """

    given: list[Given] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def add(
        self, option: Option[Any], text: str, source: Source, place: str, file: Path | None = None
    ) -> None:
        """Add a value; a blank one means unset (spec/behaviour#options)."""
        if trimmed := text.strip():
            self.given.append(Given(option, trimmed, source, place, text, file))

    def reject_duplicates(self) -> Self:
        """Return this reading with a problem for each option that has both a value and a file."""
        files = {given.option.flag: given.option for given in self.given if given.file is not None}
        for given in self.given:
            option = files.get(given.option.flag)
            if option is not None and given.file is None and not option.kind.joined:
                del files[option.flag]
                self.problems.append(
                    f"{option.flag}: {option.env} and {option.env_file} are both set; remove one of them"
                )
        return self
