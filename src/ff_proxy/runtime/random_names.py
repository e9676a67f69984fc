"""Names that no other process has."""

import secrets
from typing import Final

_BYTES: Final = 16


def random_name() -> str:
    """32 hexadecimal digits of the system's randomness: an epoch, a member's name, a secret."""
    return secrets.token_hex(_BYTES)
