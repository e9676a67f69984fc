"""What flags, target groups and targets look like, field by field: for documents that people write."""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import partial
from types import GenericAlias
from typing import Annotated, Any, Final, Literal

import msgspec

Getter = Callable[[str], Any]
"""Gives a field of an object, ``None`` if it is not there."""


class Kind(Enum):
    """What a field holds."""

    TEXT = auto()
    TEXTS = auto()
    VALUE = auto()
    """Text that a JSON value of any type can stand for."""
    BOOLEAN = auto()
    INTEGER = auto()
    COUNT = auto()
    """A whole number that is not negative."""
    STATE = auto()
    FLAG_KIND = auto()
    OPERATOR = auto()
    OBJECT = auto()
    """An object of the user's own."""
    ANY = auto()
    """Something that is kept and means nothing here."""
    ONE = auto()
    MANY = auto()


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """An object: ``noun`` for people, its fields, and what a bare text in its place stands for.

    ``check`` says what is odd about an object of which every field can be read.
    """

    noun: str
    fields: Mapping[str, "Field"]
    text_is: tuple[str, ...] = ()
    check: Callable[[Getter], tuple[str, ...]] | None = None


class Field(msgspec.Struct, frozen=True):
    """A field: what it holds, of which shape if that is objects, and what follows if it is not there.

    ``identity``: without it, nobody knows what the object is about.
    """

    kind: Kind
    shape: Shape | None = None
    absence: str = ""
    identity: bool = False


FLAG_KINDS: Final[Mapping[str, str]] = {
    "bool": "boolean",
    "boolean": "boolean",
    "int": "int",
    "integer": "int",
    "json": "json",
    "number": "int",
    "string": "string",
}
OPERATORS: Final = (
    "contains",
    "ends_with",
    "equal",
    "equal_sensitive",
    "gt",
    "in",
    "match",
    "segmentMatch",
    "starts_with",
)
MAX_INTEGER: Final = 2**63 - 1
_WHOLE: Final = 100

_TEXT: Final = Field(Kind.TEXT)
_TEXTS: Final = Field(Kind.TEXTS)
_ANY: Final = Field(Kind.ANY)
_COUNT: Final = Field(Kind.COUNT)
_IDENTIFIER: Final = Field(Kind.TEXT, identity=True)


def _many(shape: Shape, absence: str = "") -> Field:
    return Field(Kind.MANY, shape, absence)


def _check_distribution(get: Getter) -> tuple[str, ...]:
    total = sum(int(_part(entry, "weight") or 0) for entry in get("variations") or ())
    return () if total == _WHOLE else (f"the weights add up to {total}, not {_WHOLE}",)


def _check_serve(get: Getter) -> tuple[str, ...]:
    if get("distribution") is not None:
        ignored = get("variation") is not None
        return ("'variation' is ignored, because there is a 'distribution'",) if ignored else ()
    if get("variation") is None:
        return ("it serves nothing: it needs a 'variation' or a 'distribution'",)
    return ()


def _check_clause(get: Getter) -> tuple[str, ...]:
    if get("attribute") or get("op") in {None, "segmentMatch"}:
        return ()
    return ("it never matches without an 'attribute'",)


def _check_flag(get: Getter) -> tuple[str, ...]:
    names = [_part(entry, "identifier") for entry in get("variations") or ()]
    twice = sorted({name for name in names if names.count(name) > 1})
    odd = [f"variation {name!r} is there more than once" for name in twice]
    if len(names) == 1:
        odd.append("it has one variation only, which is served twice: some SDKs need two")
    return tuple(odd)


def _part(entry: Any, name: str) -> Any:
    return entry.get(name) if isinstance(entry, dict) else getattr(entry, name)


_OWNERS: Final[Mapping[str, Field]] = {"account": _TEXT, "org": _TEXT, "project": _TEXT, "environment": _TEXT}
_TIMES: Final[Mapping[str, Field]] = {"createdAt": _ANY, "modifiedAt": _ANY, "deletedAt": _ANY}

_NAMED: Final = Shape(
    noun="target",
    fields={
        "identifier": _IDENTIFIER,
        "name": _TEXT,
        **_OWNERS,
        **_TIMES,
        "anonymous": Field(Kind.BOOLEAN),
        "attributes": Field(Kind.OBJECT),
        "segments": _ANY,
    },
    text_is=("identifier",),
)
_TAG: Final = Shape(
    noun="tag", fields={"identifier": _TEXT, "name": _TEXT, "value": Field(Kind.VALUE)}, text_is=("name",)
)
_CLAUSE: Final = Shape(
    noun="clause",
    fields={
        "id": _TEXT,
        "attribute": _TEXT,
        "op": Field(Kind.OPERATOR, absence="it never matches"),
        "values": Field(Kind.TEXTS, absence="it never matches"),
        "negate": Field(Kind.BOOLEAN),
    },
    check=_check_clause,
)
_WEIGHTED: Final = Shape(
    noun="share",
    fields={
        "variation": Field(Kind.TEXT, absence="it serves nothing"),
        "weight": Field(Kind.COUNT, absence="it counts as 0"),
    },
)
_DISTRIBUTION: Final = Shape(
    noun="distribution",
    fields={"bucketBy": _TEXT, "variations": _many(_WEIGHTED, "it serves nothing")},
    check=_check_distribution,
)
_SERVE: Final = Shape(
    noun="serve",
    fields={"variation": _TEXT, "distribution": Field(Kind.ONE, _DISTRIBUTION)},
    text_is=("variation",),
    check=_check_serve,
)
_RULE: Final = Shape(
    noun="rule",
    fields={
        "ruleId": _TEXT,
        "priority": Field(Kind.INTEGER),
        "clauses": _many(_CLAUSE, "it matches everybody"),
        "serve": Field(Kind.ONE, _SERVE, "it serves nothing"),
    },
)
_SEGMENT_RULE: Final = Shape(
    noun="rule",
    fields={
        "ruleId": _TEXT,
        "priority": Field(Kind.INTEGER),
        "clauses": _many(_CLAUSE, "it matches nobody"),
    },
)
_VARIATION: Final = Shape(
    noun="variation",
    fields={
        "identifier": _IDENTIFIER,
        "name": _TEXT,
        "description": _TEXT,
        "value": Field(Kind.VALUE, absence="its value is empty"),
    },
    text_is=("identifier", "value"),
)
_VARIATION_MAP: Final = Shape(
    noun="entry",
    fields={
        "variation": Field(Kind.TEXT, absence="it serves nothing"),
        "targets": _many(_NAMED),
        "targetSegments": _TEXTS,
    },
)
_PREREQUISITE: Final = Shape(
    noun="prerequisite",
    fields={"feature": _IDENTIFIER, "variations": Field(Kind.TEXTS, absence="it is never met")},
    text_is=("feature",),
)

FLAG: Final = Shape(
    noun="flag",
    fields={
        "feature": _IDENTIFIER,
        "name": _TEXT,
        "description": _TEXT,
        **_OWNERS,
        **_TIMES,
        "kind": Field(Kind.FLAG_KIND, absence="it is a string"),
        "state": Field(Kind.STATE, absence="it is off"),
        "variations": _many(_VARIATION),
        "offVariation": Field(Kind.TEXT, absence="it serves nothing while it is off"),
        "defaultServe": Field(Kind.ONE, _SERVE, "it serves nothing where no rule matches"),
        "rules": _many(_RULE),
        "prerequisites": _many(_PREREQUISITE),
        "variationToTargetMap": _many(_VARIATION_MAP),
        "tags": _ANY,
        "version": _COUNT,
    },
    check=_check_flag,
)

SEGMENT: Final = Shape(
    noun="target group",
    fields={
        "identifier": _IDENTIFIER,
        "name": _TEXT,
        **_OWNERS,
        **_TIMES,
        "tags": _many(_TAG),
        "included": _many(_NAMED),
        "excluded": _many(_NAMED),
        "rules": _many(_CLAUSE),
        "servingRules": _many(_SEGMENT_RULE),
        "version": _COUNT,
    },
)

TARGET: Final = _NAMED


def exact_type(shape: Shape) -> Any:
    """The type of objects of this shape about which nothing can be said: no other field, and none missing.

    Converting to it is fast; its ``ValidationError`` says no more than that somebody has to look closer.
    """
    return _exact_type(shape, {})


def _exact_type(shape: Shape, made: dict[int, Any]) -> Any:
    known = made.get(id(shape))
    if known is not None:
        return known
    types = {name: _field_type(field, made) for name, field in shape.fields.items()}
    fields: list[Any] = [
        (name, types[name]) if field.absence or field.identity else (name, types[name] | None, None)
        for name, field in shape.fields.items()
    ]
    namespace = {} if shape.check is None else {"__post_init__": _checking(shape.check)}
    made[id(shape)] = msgspec.defstruct(
        shape.noun.title().replace(" ", ""),
        fields,
        namespace=namespace,
        forbid_unknown_fields=True,
        kw_only=True,
    )
    return made[id(shape)]


def _field_type(field: Field, made: dict[int, Any]) -> Any:
    if field.kind is Kind.MANY and field.shape is not None:
        entry = _exact_type(field.shape, made)
        return GenericAlias(list, (entry,))
    if field.kind is Kind.ONE and field.shape is not None:
        return _exact_type(field.shape, made)
    return _NAME if field.identity else _EXACT[field.kind]


def _checking(check: Callable[[Getter], tuple[str, ...]]) -> Callable[[msgspec.Struct], None]:
    def refuse(made: msgspec.Struct) -> None:
        if odd := check(partial(getattr, made)):
            raise ValueError(odd)

    return refuse


_NAME: Final = Annotated[str, msgspec.Meta(min_length=1)]
_EXACT: Final[Mapping[Kind, Any]] = {
    Kind.TEXT: str,
    Kind.TEXTS: list[str],
    Kind.VALUE: str,
    Kind.BOOLEAN: bool,
    Kind.INTEGER: Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)],
    Kind.COUNT: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)],
    Kind.STATE: Literal["on", "off"],
    Kind.FLAG_KIND: Literal["boolean", "int", "json", "string"],
    Kind.OPERATOR: Literal[OPERATORS],
    Kind.OBJECT: dict[str, Any],
    Kind.ANY: object,
}
