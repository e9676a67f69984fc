"""A 16-byte hash of a target, to detect repeated registrations without keeping a copy."""

import hashlib

from ff_proxy.model.target import Target
from ff_proxy.wire.stored import encode_target


def fingerprint(target: Target) -> bytes:
    """Hash a target: equal targets have equal hashes, whatever the order of attributes, in every process."""
    return hashlib.blake2b(encode_target(target), digest_size=16).digest()
