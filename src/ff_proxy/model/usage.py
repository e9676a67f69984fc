"""Counts that SDKs post back, as records that can be merged (PRODUCT §3 *Usage*, §6.13)."""

import msgspec

from ff_proxy.model.keys import EnvironmentId

Attributes = tuple[tuple[str, str], ...]
"""Key and value pairs in canonical order; a value is the compact JSON text of what the SDK sent."""


class UsageKey(msgspec.Struct, frozen=True):
    """What makes two counts the same: counts with equal keys add up."""

    environment: EnvironmentId
    metrics_type: str
    attributes: Attributes


class UsageCount(msgspec.Struct, frozen=True):
    """``count`` evaluations under one key; ``timestamp`` (epoch milliseconds) is the latest one's."""

    key: UsageKey
    count: int
    timestamp: int


class UsageTarget(msgspec.Struct, frozen=True):
    """A target that a server SDK has seen: the newest description of an identifier wins."""

    environment: EnvironmentId
    identifier: str
    name: str
    attributes: Attributes
