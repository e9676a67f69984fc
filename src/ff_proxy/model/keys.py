"""Identities and secrets: environment ids, SDK keys and their hashes, anything that must not be printed."""

import hashlib
from typing import Final, NewType, final

EnvironmentId = NewType("EnvironmentId", str)
"""A Harness environment's UUID, as the JWT claim ``environment`` and the paths carry it."""

SdkKeyHash = NewType("SdkKeyHash", str)
"""SHA-256 of an SDK key, lower-case hex: the only form of a key that is ever stored."""

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


def hash_key(text: str) -> SdkKeyHash:
    """SHA-256 of ``text``'s UTF-8 bytes in lower-case hex; lone surrogates (JSON can carry them) survive."""
    return SdkKeyHash(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
