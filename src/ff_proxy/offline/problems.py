"""What can be wrong with an offline directory, as something that can be listed, logged or raised."""

from enum import IntEnum

import msgspec

from ff_proxy.errors import OfflineDataError


class Severity(IntEnum):
    """How much harm a problem does."""

    WARNING = 1
    """Read, but perhaps not what was meant."""
    ERROR = 2
    """One entry cannot be used and is left out; the rest of the file serves."""
    BROKEN = 3
    """The file cannot be used, and so its environment cannot."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong: ``path`` of the file, ``place`` in it (may be empty), and words."""

    severity: Severity
    path: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.place}: {self.text}" if self.place else f"{self.path}: {self.text}"

    def as_error(self) -> OfflineDataError:
        """The same as an exception."""
        return OfflineDataError(self.path, self.text, place=self.place or None)
