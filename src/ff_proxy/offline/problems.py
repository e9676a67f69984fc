"""Problems of an offline directory, which can be listed, logged or raised."""

from enum import IntEnum

import msgspec

from ff_proxy.errors import OfflineDataError


class Severity(IntEnum):
    """The severity of a problem."""

    WARNING = 1
    """The data was read, but may not be what the author meant."""
    ERROR = 2
    """One entry is unusable and is dropped; the rest of the file is used."""
    BROKEN = 3
    """The file is unusable, and so is its environment."""


class Problem(msgspec.Struct, frozen=True):
    """One problem: the file's ``path``, the ``place`` in it (may be empty), and the text."""

    severity: Severity
    path: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.place}: {self.text}" if self.place else f"{self.path}: {self.text}"

    def as_error(self) -> OfflineDataError:
        """This problem as an exception."""
        return OfflineDataError(self.path, self.text, place=self.place or None)
