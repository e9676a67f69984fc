"""What Harness says of a key that is not known here."""

from enum import Enum


class KeyVerdict(Enum):
    """The answer to a key check (spec/behaviour#key-checks)."""

    ACCEPTED = "accepted"
    """Harness knows it, and its environment now lists it."""

    REFUSED = "refused"
    """Definitely not a key of an environment served here."""

    UNAVAILABLE = "unavailable"
    """No check is possible now: ask again."""
