"""Targets as stores keep them: bounded in size, and with the time at which they were described.

A row is the target's JSON object with the time in front, so that a script in Redis finds it without reading
the rest, and versions of this program that know nothing of times read it as well. Rows of such versions
are of time 0. Reading heals what they may hold: values that not every writer can carry, and excess.
"""

from enum import StrEnum
from typing import Final

import msgspec

from ff_proxy.errors import MalformedJson
from ff_proxy.model.target import Target
from ff_proxy.wire.config import read_decoded_target, read_target
from ff_proxy.wire.values import clean_object, decode_json

MAX_ATTRIBUTES_BYTES: Final = 64 * 1024
"""Attributes whose JSON is longer are not kept: a request that carries them is evaluated with them."""

MAX_NAME_LENGTH: Final = 1024
"""Characters of an identifier or a name that is kept: many times what Harness allows."""

# JSON grows when it is written again (1e15 to 1000000000000000.0), but not tenfold.
_GROWTH: Final = 10
_LONGEST_ROW: Final = 64 * 1024 * 1024
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Excess(StrEnum):
    """What of a target was too long to be kept."""

    IDENTIFIER = "identifier"
    NAME = "name"
    ATTRIBUTES = "attributes"


class DescribedTarget(msgspec.Struct, frozen=True):
    """A target and when it was described, in epoch milliseconds: of two descriptions the newest counts."""

    target: Target
    at: int


def keepable(target: Target, *, sent: int | None = None) -> tuple[Target | None, Excess | None]:
    """As much of a target as is kept, and what was too long.

    Args:
        target: as it was described.
        sent: bytes of the JSON that described it, if known: saves measuring what was short.
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
    """A target as a row; total, whatever the target holds."""
    return b'{"at":%d,%b' % (described.at, encode_target(described.target)[1:])


def same_target(one: Target, other: Target) -> bool:
    """Whether two descriptions say the same: ``1`` and ``true`` are equal to Python, and not to a rule."""
    return one is other or (one == other and encode_target(one) == encode_target(other))


def newer(one: DescribedTarget, other: DescribedTarget) -> bool:
    """Whether ``one`` counts instead of ``other``; of the same time, every member prefers the same one."""
    return (one.at, encode_target(one.target)) > (other.at, encode_target(other.target))


def encode_target(target: Target) -> bytes:
    """A target as JSON: the same bytes for equal targets, whatever the order of their attributes."""
    try:
        return _encode(target)
    except (ValueError, OverflowError, RecursionError):
        return _encode(read_target(clean_object(msgspec.structs.asdict(target))) or Target(""))


def read_row(row: bytes) -> DescribedTarget | None:
    """What a row holds, or ``None`` if that is no target."""
    try:
        doc = decode_json(row, repairable=_LONGEST_ROW)
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
