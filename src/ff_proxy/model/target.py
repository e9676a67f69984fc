"""What a flag is evaluated for."""

from collections.abc import Mapping

import msgspec


class Target(msgspec.Struct, frozen=True):
    """A target as an SDK described it.

    ``attributes`` holds JSON values of any type, as decoded; it is never changed once the target is made.
    """

    identifier: str
    name: str = ""
    attributes: Mapping[str, object] = {}
    anonymous: bool = False
