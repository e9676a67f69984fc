"""A member of a fleet, as the others see it."""

import hmac
from typing import Final

import msgspec

from ff_proxy.model.keys import Secret

_STORED: Final = "store"
_DIGITS: Final = 16
_FINGERPRINTED: Final = b"ff-proxy: what members sign tokens with"


class FleetMember(msgspec.Struct, frozen=True):
    """What a proxy tells the other members about itself; fields that its version does not know are empty.

    ``id`` is the name under which it takes leases. ``started`` is in seconds since the epoch. ``signs_with``
    is the ``fingerprint`` of its configured secret.
    """

    id: str
    host: str = ""
    address: str = ""
    mode: str = ""
    version: str = ""
    started: float = 0.0
    processes: int = 1
    state: str = ""
    signs_with: str = ""


class SeenMember(msgspec.Struct, frozen=True):
    """A member that was heard of ``age`` seconds ago, by the clock of the store."""

    member: FleetMember
    age: float


def fingerprint(secret: Secret | None) -> str:
    """Equal for members that sign tokens with the same secret: a configured one, or (``None``) the store's.

    It tells no more about the secret than any token does.
    """
    if secret is None:
        return _STORED
    return hmac.new(secret.reveal().encode(), _FINGERPRINTED, "sha256").hexdigest()[:_DIGITS]
