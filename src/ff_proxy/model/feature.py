"""A flag's definition as the engine reads it: wire spellings are left behind, every field has a safe type."""

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """The kinds of value a flag can have on the wire."""

    BOOLEAN = "boolean"
    INT = "int"
    STRING = "string"
    JSON = "json"


class Variation(msgspec.Struct, frozen=True):
    """One of a flag's values; ``value`` is text whatever the kind."""

    identifier: str
    value: str


class WeightedVariation(msgspec.Struct, frozen=True):
    """A share of a distribution, ``weight`` in percent."""

    variation: str
    weight: int


class Distribution(msgspec.Struct, frozen=True, rename="camel"):
    """A percentage rollout over the attribute ``bucket_by``."""

    bucket_by: str
    variations: tuple[WeightedVariation, ...]


class Serve(msgspec.Struct, frozen=True):
    """What a rule or the default serves: a distribution, else a variation, else nothing.

    In a rule a present but empty ``variation`` is not the same as none: it ends the rules
    (spec/evaluation#rules).
    """

    variation: str | None = None
    distribution: Distribution | None = None


class Clause(msgspec.Struct, frozen=True):
    """A condition on one attribute; ``values`` are the operands."""

    attribute: str
    op: str
    values: tuple[str, ...]


class ServingRule(msgspec.Struct, frozen=True):
    """A flag's rule: all ``clauses`` hold → ``serve``. Lower ``priority`` first."""

    priority: int
    clauses: tuple[Clause, ...]
    serve: Serve


class VariationMap(msgspec.Struct, frozen=True):
    """Targets and segments that are given one variation directly."""

    variation: str
    targets: tuple[str, ...]
    segments: tuple[str, ...]


class Prerequisite(msgspec.Struct, frozen=True):
    """Another flag that must yield one of ``variations``."""

    feature: str
    variations: tuple[str, ...]


class FeatureConfig(msgspec.Struct, frozen=True):
    """A flag: its variations and the rules that choose among them (spec/evaluation#one-flag)."""

    identifier: str
    kind: str
    on: bool
    variations: tuple[Variation, ...]
    off_variation: str
    default_serve: Serve
    rules: tuple[ServingRule, ...] = ()
    variation_map: tuple[VariationMap, ...] = ()
    prerequisites: tuple[Prerequisite, ...] = ()
    version: int = 0


class SegmentRule(msgspec.Struct, frozen=True):
    """A group of clauses that must all hold (the ``rules=v2`` form of a segment)."""

    priority: int
    clauses: tuple[Clause, ...]


class Segment(msgspec.Struct, frozen=True):
    """A target group: explicit members, then ``serving_rules`` if any, else ``rules``.

    See spec/evaluation#segments.
    """

    identifier: str
    included: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    rules: tuple[Clause, ...] = ()
    serving_rules: tuple[SegmentRule, ...] = ()
    version: int = 0
