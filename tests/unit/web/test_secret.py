"""The derived signing secret (PRODUCT §6.1)."""

import hashlib
import hmac

from ff_proxy.model.keys import SdkKey, Secret
from ff_proxy.web.secret import derived_secret

KEYS = [SdkKey("key-one"), SdkKey("key-two")]


def test_a_restart_derives_the_same_secret() -> None:
    """Whatever the order in which the keys are listed."""
    first = derived_secret("account", Secret("token"), KEYS)
    assert first == derived_secret("account", Secret("token"), reversed(KEYS))
    assert len(first.reveal()) == 64


def test_every_credential_counts() -> None:
    """Another account, token or set of keys is another secret, and it is none of them."""
    first = derived_secret("account", Secret("token"), KEYS)
    others = {
        derived_secret("other", Secret("token"), KEYS),
        derived_secret("account", Secret("other"), KEYS),
        derived_secret("account", Secret("token"), KEYS[:1]),
        derived_secret("accounttoken", Secret(""), KEYS),
    }
    assert first not in others
    assert len(others) == 4


def test_the_derivation_is_hkdf() -> None:
    """RFC 5869 with SHA-256: extract with the salt, expand with the info, one block."""
    material = b"a\0t\0key-one\0key-two"
    key = hmac.new(b"ff-proxy token secret 1", material, hashlib.sha256).digest()
    block = hmac.new(key, b"auth-secret\x01", hashlib.sha256).hexdigest()
    assert derived_secret("a", Secret("t"), KEYS).reveal() == block
