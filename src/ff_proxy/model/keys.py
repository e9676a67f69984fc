"""Identities and secrets: environment ids, SDK keys and their hashes, anything that must not be printed."""

import hashlib
import re
from enum import Enum
from typing import Final, NewType, final

EnvironmentId = NewType("EnvironmentId", str)
"""A Harness environment's UUID, as the JWT claim ``environment`` and the paths carry it."""

SdkKeyHash = NewType("SdkKeyHash", str)
"""SHA-256 of an SDK key, lower-case hex: the only form of a key that is ever stored."""

KEY_HASH_PREFIX: Final = "auth-key-"
"""Precedes a hash in tokens and files of the Go proxy."""

_KEY_HASH: Final = re.compile(r"[0-9a-f]{64}")
_SHOWN: Final = 4
_HASH_SHOWN: Final = 6


@final
class Secret:
    """A text that masks itself: ``str`` and ``repr`` show stars, ``reveal`` the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the wire, never for a log."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


@final
class SdkKey:
    """An SDK key in the clear: compares by value, prints four characters and a piece of its hash."""

    __slots__ = ("_text", "hash")

    def __init__(self, text: str) -> None:
        self._text = text
        self.hash: Final = hash_key(text)

    def reveal(self) -> str:
        """The key itself: for the wire, never for a log."""
        return self._text

    @property
    def masked(self) -> str:
        """The key for people to recognise and to tell from others: ``abcd***#1f0c9a``.

        Four characters (none of a short key), stars, and the first six digits of its hash.
        """
        shown = self._text[:_SHOWN] if len(self._text) > 2 * _SHOWN else ""
        return f"{shown}***#{self.hash[:_HASH_SHOWN]}"

    def __repr__(self) -> str:
        return f"SdkKey({self.masked})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SdkKey) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def read_key_hash(text: object) -> SdkKeyHash | None:
    """The hash in a file, a listing or a token, with or without its prefix; ``None`` if it is none."""
    digits = text.strip().removeprefix(KEY_HASH_PREFIX).lower() if isinstance(text, str) else ""
    return SdkKeyHash(digits) if _KEY_HASH.fullmatch(digits) else None


def hash_key(text: str) -> SdkKeyHash:
    """SHA-256 of ``text``'s UTF-8 bytes in lower-case hex; lone surrogates (JSON can carry them) survive."""
    return SdkKeyHash(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


class KeyVerdict(Enum):
    """Harness's verdict on an unknown key (spec/behaviour#key-checks)."""

    ACCEPTED = "accepted"
    """Harness accepts it, and its environment now lists it."""

    REFUSED = "refused"
    """It belongs to no environment that is served here."""

    UNAVAILABLE = "unavailable"
    """It cannot be checked now: ask again."""
