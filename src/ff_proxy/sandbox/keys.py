"""The SDK keys of a sandbox environment."""

from typing import Final, Literal

import msgspec

from ff_proxy.model.keys import SdkKeyHash, hash_key

KeyType = Literal["Server", "Client"]

_SHOWN: Final = 4


class Key(msgspec.Struct, frozen=True):
    """An SDK key; ``text`` is empty where only the hash is known (an offline directory holds no more)."""

    name: str
    type: KeyType
    hash: SdkKeyHash
    text: str = ""

    @property
    def masked(self) -> str:
        """What the admin API shows of it: stars, and the last four characters if they are known."""
        return f"{'*' * 8}{self.text[-_SHOWN:]}"


def known_key(name: str, key_type: KeyType, text: str) -> Key:
    """A key whose text is known."""
    return Key(name, key_type, hash_key(text), text)
