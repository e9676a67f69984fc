"""Flags and groups with the types of the Go, Java and .NET SDKs: for each field the narrowest of the three.

These SDKs read nothing of a list in which one value has another type (spec/sdk-wire#bodies).
"""

from typing import Annotated, Any

import msgspec

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
UNSET = msgspec.UNSET
Optional = msgspec.UnsetType


class Clause(msgspec.Struct):
    attribute: str
    op: str
    negate: bool
    values: list[str]
    id: str | Optional = UNSET


class Weighted(msgspec.Struct):
    variation: str
    weight: Int32


class Distribution(msgspec.Struct):
    bucketBy: str  # noqa: N815  (as on the wire, here and below)
    variations: list[Weighted]


class Serve(msgspec.Struct):
    variation: str | Optional = UNSET
    distribution: Distribution | Optional = UNSET


class Rule(msgspec.Struct):
    priority: Int32
    clauses: list[Clause]
    serve: Serve
    ruleId: str | Optional = UNSET  # noqa: N815


class Variation(msgspec.Struct):
    identifier: str
    value: str
    name: str | Optional = UNSET
    description: str | Optional = UNSET


class Named(msgspec.Struct):
    identifier: str
    name: str


class VariationMap(msgspec.Struct):
    variation: str
    targets: list[Named] | Optional = UNSET
    targetSegments: list[str] | Optional = UNSET  # noqa: N815


class Prerequisite(msgspec.Struct):
    feature: str
    variations: list[str]


class Flag(msgspec.Struct):
    project: str
    environment: str
    feature: str
    kind: str
    state: str
    offVariation: str  # noqa: N815
    defaultServe: Serve  # noqa: N815
    variations: list[Variation]
    rules: list[Rule]
    prerequisites: list[Prerequisite]
    variationToTargetMap: list[VariationMap]  # noqa: N815
    version: Int64


class Member(Named):
    account: str
    org: str
    project: str
    environment: str
    attributes: dict[str, Any] | Optional = UNSET
    anonymous: bool | Optional = UNSET
    createdAt: Int64 | Optional = UNSET  # noqa: N815
    segments: list[Named] | Optional = UNSET


class GroupRule(msgspec.Struct):
    ruleId: str  # noqa: N815
    priority: Int32
    clauses: list[Clause]


class Group(Named):
    included: list[Member]
    excluded: list[Member]
    tags: list[Named]
    version: Int64
    rules: list[Clause] | Optional = UNSET
    servingRules: list[GroupRule] | Optional = UNSET  # noqa: N815
    environment: str | Optional = UNSET
    createdAt: Int64 | Optional = UNSET  # noqa: N815
    modifiedAt: Int64 | Optional = UNSET  # noqa: N815
