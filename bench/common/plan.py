"""How much to measure."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_Choice = TypeVar("_Choice")


class BenchError(Exception):
    """A benchmark failed: the text says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asks for.

    Attributes:
        quick: as little as shows that everything works; the figures mean nothing.
        only: rows whose label contains one of these; all if empty.
        peers: descriptions of further peers (bench/peers/README.md).
    """

    quick: bool = False
    only: tuple[str, ...] = ()
    peers: tuple[Path, ...] = ()

    def pick(self, full: _Choice, quick: _Choice) -> _Choice:
        """``full``, or ``quick`` in a quick run."""
        return quick if self.quick else full

    def wants(self, label: str) -> bool:
        """Whether the row called ``label`` is asked for."""
        return not self.only or any(part in label for part in self.only)
