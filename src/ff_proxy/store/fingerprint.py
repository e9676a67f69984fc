"""A target's content in 16 bytes, so that 'was an equal one sent before?' needs no copy of the target."""

import hashlib

from ff_proxy.model.target import Target
from ff_proxy.wire.stored import encode_target


def fingerprint(target: Target) -> bytes:
    """Equal for equal targets, whatever the order of their attributes; the same in every process."""
    return hashlib.blake2b(encode_target(target), digest_size=16).digest()
