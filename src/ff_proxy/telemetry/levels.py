"""Log levels: a default, and levels for single environments."""

import logging
from collections.abc import Iterator, Mapping
from typing import Final

LEVELS: Final[Mapping[str, int]] = {
    name: logging.getLevelNamesMapping()[name] for name in ("DEBUG", "INFO", "WARNING", "ERROR")
}
"""Each level's number of ``logging``, the lowest first."""

# Facts that name the subject of a line: an environment, or something in it (`e1/flag`, `e1 flags`).
_NAMES: Final = ("environment", "subject")


class LogLevels:
    """The current levels. Names are DEBUG, INFO, WARNING and ERROR.

    Args:
        default: for all lines except those about ``environments``.
        environments: levels by environment id.

    Attributes:
        least: the lowest level in use, as a number of ``logging``.
        changes: grows with each change.
    """

    def __init__(self, default: str, environments: Mapping[str, str] | None = None) -> None:
        self._default = 0
        self._environments: dict[str, int] = {}
        self.least = 0
        self.changes = 0
        self.change(default, environments or {})

    @property
    def default(self) -> str:
        """The level of lines about no environment in particular."""
        return logging.getLevelName(self._default)

    @property
    def environments(self) -> Mapping[str, str]:
        """Levels of single environments."""
        return {name: logging.getLevelName(level) for name, level in self._environments.items()}

    def change(self, default: str, environments: Mapping[str, str]) -> None:
        """Change the levels, also for existing loggers."""
        self.changes += 1
        self._default = LEVELS[default]
        self._environments = {name: LEVELS[level] for name, level in environments.items()}
        self.least = min(self._default, *self._environments.values(), LEVELS["ERROR"])

    def wants(self, level: int, facts: Mapping[str, object]) -> bool:
        """Whether to write a line with these facts."""
        if level < self.least:
            return False
        return level >= (self._of(facts) if self._environments else self._default)

    def _of(self, facts: Mapping[str, object]) -> int:
        for environment in environments_of(facts):
            if environment in self._environments:
                return self._environments[environment]
        return self._default


def environments_of(facts: Mapping[str, object]) -> Iterator[str]:
    """The ids of the environments that a line with these facts is about.

    A subject that belongs to no environment counts as one of its own, by its first word.
    """
    for name in _NAMES:
        about = facts.get(name)
        if isinstance(about, str) and about:
            yield about.partition("/")[0].partition(" ")[0]
