"""The outcome of evaluating a flag for a target."""

from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """Which step of spec/evaluation#one-flag decided."""

    OFF = "off"
    PREREQUISITE = "prerequisite"
    TARGET_MAP = "target_map"
    SEGMENT_MAP = "segment_map"
    RULE = "rule"
    RULE_DISTRIBUTION = "rule_distribution"
    DISTRIBUTION = "distribution"
    DEFAULT = "default"
    UNKNOWN_FLAG = "unknown_flag"
    NO_VARIATION = "no_variation"
    UNKNOWN_VARIATION = "unknown_variation"


class Evaluation(msgspec.Struct, frozen=True):
    """A flag's variation for a target: ``variation`` is its identifier, ``value`` its text as configured."""

    flag: str
    kind: str
    variation: str
    value: str
    reason: Reason


class NoEvaluation(msgspec.Struct, frozen=True):
    """A flag that yields no variation for a target, and why (``detail`` is for people)."""

    flag: str
    reason: Reason
    detail: str = ""
