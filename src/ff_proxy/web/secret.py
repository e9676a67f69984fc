"""The secret that signs tokens when none is configured (PRODUCT §6.1)."""

import hmac
from collections.abc import Iterable
from typing import Final

from ff_proxy.model.keys import SdkKey, Secret

_SALT: Final = b"ff-proxy token secret 1"
_LENGTH: Final = 32


def derived_secret(account: str, admin_token: Secret, keys: Iterable[SdkKey]) -> Secret:
    """A secret that is the same after every restart with the same credentials, and not theirs.

    HKDF-SHA-256 (RFC 5869) with one block of output, in hexadecimal.
    """
    ordered = sorted(key.reveal() for key in keys)
    material = "\0".join([account, admin_token.reveal(), *ordered]).encode("utf-8", "surrogatepass")
    extracted = hmac.digest(_SALT, material, "sha256")
    expanded = hmac.digest(extracted, b"auth-secret\x01", "sha256")
    return Secret(expanded[:_LENGTH].hex())
