"""Targets as stores keep them: bounded in size, with the time at which an SDK sent them.

A row is the target's JSON object with the time in front, so that a Redis script finds it without parsing the
rest and older versions of the proxy, which store no time, can read it too. Their rows have time 0. Reading
also repairs old rows: values that not every store can hold, and oversized targets.
"""

import hashlib
from enum import StrEnum
from typing import Final

import msgspec

from ff_proxy.errors import MalformedJson
from ff_proxy.model.target import Target
from ff_proxy.wire.config import read_decoded_target, read_target
from ff_proxy.wire.values import clean_object, decode_json

MAX_ATTRIBUTES_BYTES: Final = 64 * 1024
"""Longer attributes are not stored; a request that carries them is still evaluated with them."""

MAX_NAME_LENGTH: Final = 1024
"""The longest identifier or name that is stored, in characters: many times what Harness allows."""

# Re-encoded JSON may grow (1e15 becomes 1000000000000000.0), but less than tenfold.
_GROWTH: Final = 10
_MAX_ROW_BYTES: Final = 64 * 1024 * 1024
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Excess(StrEnum):
    """The part of a target that was too long to store."""

    IDENTIFIER = "identifier"
    NAME = "name"
    ATTRIBUTES = "attributes"


class DescribedTarget(msgspec.Struct, frozen=True):
    """A target and when an SDK sent it, in epoch milliseconds: the newest wins."""

    target: Target
    at: int


def truncate_target(target: Target, *, sent: int | None = None) -> tuple[Target | None, Excess | None]:
    """Truncate a target to what is stored; also says what was too long.

    Args:
        target: as an SDK sent it.
        sent: the size of its JSON in bytes, if known, which saves measuring small targets.
    """
    if len(target.identifier) > MAX_NAME_LENGTH:
        return None, Excess.IDENTIFIER
    small = sent is not None and sent <= MAX_ATTRIBUTES_BYTES // _GROWTH
    if not small and _excessive(target):
        name = target.name if len(target.name) <= MAX_NAME_LENGTH else ""
        return msgspec.structs.replace(target, name=name, attributes={}), Excess.ATTRIBUTES
    if len(target.name) > MAX_NAME_LENGTH:
        return msgspec.structs.replace(target, name=""), Excess.NAME
    return target, None


def encode_row(described: DescribedTarget) -> bytes:
    """Encode a target as a row; never fails."""
    return b'{"at":%d,%b' % (described.at, encode_target(described.target)[1:])


def same_target(one: Target, other: Target) -> bool:
    """Whether two targets are equal to rules: ``1`` and ``true`` are equal in Python but not in a rule."""
    return one is other or (one == other and encode_target(one) == encode_target(other))


def is_newer(one: DescribedTarget, other: DescribedTarget) -> bool:
    """Whether ``one`` replaces ``other``; at equal times every member chooses the same one."""
    return (one.at, encode_target(one.target)) > (other.at, encode_target(other.target))


def encode_target(target: Target) -> bytes:
    """Encode a target as JSON: equal targets give equal bytes, whatever the order of their attributes."""
    try:
        return _encode(target)
    except (ValueError, OverflowError, RecursionError):
        return _encode(read_target(clean_object(msgspec.structs.asdict(target))) or Target(""))


def fingerprint(target: Target) -> bytes:
    """A 16-byte hash: equal targets have equal ones, whatever the order of attributes, in every process."""
    return hashlib.blake2b(encode_target(target), digest_size=16).digest()


def read_row(row: bytes) -> DescribedTarget | None:
    """Parse a row; ``None`` if it holds no target."""
    try:
        doc = decode_json(row, max_lenient_bytes=_MAX_ROW_BYTES)
    except MalformedJson:
        return None
    target = read_decoded_target(doc)
    if target is None or not isinstance(doc, dict):
        return None
    if len(row) > MAX_ATTRIBUTES_BYTES // _GROWTH and _excessive(target):
        target = msgspec.structs.replace(target, attributes={})
    at = doc.get("at")
    return DescribedTarget(target, at if type(at) is int and at > 0 else 0)


def _excessive(target: Target) -> bool:
    return len(_encode(target.attributes)) > MAX_ATTRIBUTES_BYTES
