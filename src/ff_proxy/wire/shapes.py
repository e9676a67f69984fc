"""The shapes of flags, target groups and targets, field by field, for documents that people write."""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import partial
from types import GenericAlias
from typing import Annotated, Any, Final, Literal

import msgspec

Getter = Callable[[str], Any]
"""Returns a field of an object, or ``None``."""


class Kind(Enum):
    """What a field holds."""

    TEXT = auto()
    TEXTS = auto()
    VALUE = auto()
    """Text, which may be given as a JSON value of any type."""
    BOOLEAN = auto()
    INTEGER = auto()
    COUNT = auto()
    """A whole number that is not negative."""
    STATE = auto()
    FLAG_KIND = auto()
    OPERATOR = auto()
    OBJECT = auto()
    """An object with arbitrary fields."""
    ANY = auto()
    """Kept, but ignored by the proxy."""
    OBJECT_OF_SHAPE = auto()
    LIST_OF_SHAPE = auto()


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """An object: its ``noun`` in messages, its fields, and the fields that a bare text in its place fills.

    ``check`` returns warnings about an object whose fields are all readable.
    """

    noun: str
    fields: Mapping[str, "Field"]
    text_fills: tuple[str, ...] = ()
    check: Callable[[Getter], tuple[str, ...]] | None = None


class Field(msgspec.Struct, frozen=True):
    """A field: its kind, the shape of its objects, and what happens if it is absent.

    ``identity``: an object without this field cannot be identified, so it is dropped.
    """

    kind: Kind
    shape: Shape | None = None
    if_absent: str = ""
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


def _many(shape: Shape, if_absent: str = "") -> Field:
    return Field(Kind.LIST_OF_SHAPE, shape, if_absent)


def _check_distribution(get: Getter) -> tuple[str, ...]:
    total = sum(int(_part(entry, "weight") or 0) for entry in get("variations") or ())
    return () if total == _WHOLE else (f"the weights add up to {total}, not {_WHOLE}",)


def _check_serve(get: Getter) -> tuple[str, ...]:
    if get("distribution") is not None:
        ignored = get("variation") is not None
        return ("'variation' is ignored, because there is a 'distribution'",) if ignored else ()
    if get("variation") is None:
        return ("it serves nothing, because it needs a 'variation' or a 'distribution'",)
    return ()


def _check_clause(get: Getter) -> tuple[str, ...]:
    if get("attribute") or get("op") in {None, "segmentMatch"}:
        return ()
    return ("it never matches, because it has no 'attribute'",)


def _check_flag(get: Getter) -> tuple[str, ...]:
    names = [_part(entry, "identifier") for entry in get("variations") or ()]
    twice = sorted({name for name in names if names.count(name) > 1})
    warnings = [f"variation {name!r} appears more than once" for name in twice]
    if len(names) == 1:
        warnings.append("it has only one variation, which is sent twice because some SDKs need two")
    return tuple(warnings)


def _part(entry: Any, name: str) -> Any:
    return entry.get(name) if isinstance(entry, dict) else getattr(entry, name)


_OWNERS: Final[Mapping[str, Field]] = {"account": _TEXT, "org": _TEXT, "project": _TEXT, "environment": _TEXT}
_TIME: Final = Field(Kind.INTEGER)
_TIMES: Final[Mapping[str, Field]] = {"createdAt": _TIME, "modifiedAt": _TIME, "deletedAt": _TIME}

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
    text_fills=("identifier",),
)
_TAG: Final = Shape(
    noun="tag", fields={"identifier": _TEXT, "name": _TEXT, "value": Field(Kind.VALUE)}, text_fills=("name",)
)
_CLAUSE: Final = Shape(
    noun="clause",
    fields={
        "id": _TEXT,
        "attribute": _TEXT,
        "op": Field(Kind.OPERATOR, if_absent="it never matches"),
        "values": Field(Kind.TEXTS, if_absent="it never matches"),
        "negate": Field(Kind.BOOLEAN),
    },
    check=_check_clause,
)
_WEIGHTED: Final = Shape(
    noun="share",
    fields={
        "variation": Field(Kind.TEXT, if_absent="it serves nothing"),
        "weight": Field(Kind.COUNT, if_absent="it counts as 0"),
    },
)
_DISTRIBUTION: Final = Shape(
    noun="distribution",
    fields={"bucketBy": _TEXT, "variations": _many(_WEIGHTED, "it serves nothing")},
    check=_check_distribution,
)
_SERVE: Final = Shape(
    noun="serve",
    fields={"variation": _TEXT, "distribution": Field(Kind.OBJECT_OF_SHAPE, _DISTRIBUTION)},
    text_fills=("variation",),
    check=_check_serve,
)
_RULE: Final = Shape(
    noun="rule",
    fields={
        "ruleId": _TEXT,
        "priority": Field(Kind.INTEGER),
        "clauses": _many(_CLAUSE, "it matches everybody"),
        "serve": Field(Kind.OBJECT_OF_SHAPE, _SERVE, "it serves nothing"),
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
        "value": Field(Kind.VALUE, if_absent="its value is empty"),
    },
    text_fills=("identifier", "value"),
)
_VARIATION_MAP: Final = Shape(
    noun="entry",
    fields={
        "variation": Field(Kind.TEXT, if_absent="it serves nothing"),
        "targets": _many(_NAMED),
        "targetSegments": _TEXTS,
    },
)
_PREREQUISITE: Final = Shape(
    noun="prerequisite",
    fields={"feature": _IDENTIFIER, "variations": Field(Kind.TEXTS, if_absent="it is never met")},
    text_fills=("feature",),
)

FLAG: Final = Shape(
    noun="flag",
    fields={
        "feature": _IDENTIFIER,
        "name": _TEXT,
        "description": _TEXT,
        **_OWNERS,
        **_TIMES,
        "kind": Field(Kind.FLAG_KIND, if_absent="it is a string"),
        "state": Field(Kind.STATE, if_absent="it is off"),
        "variations": _many(_VARIATION),
        "offVariation": Field(Kind.TEXT, if_absent="it serves nothing while it is off"),
        "defaultServe": Field(Kind.OBJECT_OF_SHAPE, _SERVE, "it serves nothing where no rule matches"),
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
    """The type of objects of this shape without any problem: no unknown field, and none missing.

    Converting to it is fast; a ``ValidationError`` only means that the slow path has to find the problem.
    """
    return _exact_type(shape, {})


def _exact_type(shape: Shape, built: dict[int, Any]) -> Any:
    known = built.get(id(shape))
    if known is not None:
        return known
    types = {name: _field_type(field, built) for name, field in shape.fields.items()}
    fields: list[Any] = [
        (name, types[name]) if field.if_absent or field.identity else (name, types[name] | None, None)
        for name, field in shape.fields.items()
    ]
    namespace = {} if shape.check is None else {"__post_init__": _checking(shape.check)}
    built[id(shape)] = msgspec.defstruct(
        shape.noun.title().replace(" ", ""),
        fields,
        namespace=namespace,
        forbid_unknown_fields=True,
        kw_only=True,
    )
    return built[id(shape)]


def _field_type(field: Field, built: dict[int, Any]) -> Any:
    if field.kind is Kind.LIST_OF_SHAPE and field.shape is not None:
        entry = _exact_type(field.shape, built)
        return GenericAlias(list, (entry,))
    if field.kind is Kind.OBJECT_OF_SHAPE and field.shape is not None:
        return _exact_type(field.shape, built)
    return _NAME if field.identity else _EXACT[field.kind]


def _checking(check: Callable[[Getter], tuple[str, ...]]) -> Callable[[msgspec.Struct], None]:
    def refuse(built: msgspec.Struct) -> None:
        if warnings := check(partial(getattr, built)):
            raise ValueError(warnings)

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
