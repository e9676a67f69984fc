"""A target's content in 16 bytes, so that 'was an equal one sent before?' needs no copy of the target."""

import hashlib

import msgspec

from ff_proxy.model.target import Target

_encode = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(target: Target) -> bytes:
    """Equal for equal targets, whatever the order of their attributes; the same in every process."""
    return hashlib.blake2b(_encode(target), digest_size=16).digest()
