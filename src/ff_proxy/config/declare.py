"""Declaring options: each is a field of the record that it ends up in.

::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class LimitOptions:
        section: ClassVar[str] = SERVING
        max_body_size: int = option(size(), 64 * MEBIBYTE, "Largest request body")

The flag (``max-body-size``) and the environment variable (``MAX_BODY_SIZE``) are derived from the field's
name. Records contain other records as ``group``s. The parser, the sources, the checks, the help,
``print-config``, ``docs/options.md`` and the records all use these declarations.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar, overload

from ff_proxy.config.value_types import ValueType
from ff_proxy.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")

_DECLARED: Final = "ff_proxy.config"


class Mode(Enum):
    """What the process does (spec/behaviour#modes); the sandbox has its own options."""

    ONLINE = "online"
    OFFLINE = "offline"
    GENERATE = "generate"
    REPLICA = "replica"


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """An option. ``meaning`` is its help text, without the full stop.

    ``fallback`` names the option whose value applies if this one is not set. ``ignored``: one of the Go
    proxy that has no effect here. ``reloadable``: a new value takes effect without a restart. ``in_files`` is
    false for the options that name files of options.
    """

    flag: str
    kind: ValueType[T]
    default: T | None
    meaning: str
    _: KW_ONLY
    section: str = ""
    required: bool = False
    aliases: tuple[str, ...] = ()
    variable: str = ""
    ignored: bool = False
    reloadable: bool = False
    fallback: str = ""
    in_files: bool = True

    @property
    def env(self) -> str:
        """Its environment variable."""
        return self.variable or self.flag.upper().replace("-", "_")

    @property
    def env_file(self) -> str | None:
        """The environment variable that names a file with its value, if it is a secret."""
        return f"{self.env}_FILE" if self.kind.secret else None

    @property
    def names(self) -> tuple[str, ...]:
        """Its flag and the flag's aliases."""
        return (self.flag, *self.aliases)

    def show(self, value: T | None) -> str:
        """A value as text, with secrets masked; empty for ``None``."""
        return self.kind.none if value is None else self.kind.show(value)

    @property
    def shown_default(self) -> str:
        """The default as shown in the help; empty if there is none."""
        return self.show(self.default)


class Values(Protocol):
    """Effective values by flag, and whether any source sets them."""

    def __getitem__(self, flag: str) -> Any: ...

    def given(self, flag: str) -> bool:
        """Whether any source sets the option."""
        ...

    def untrimmed(self, flag: str) -> str:
        """The text as given, with surrounding white space; empty if not set."""
        ...


@dataclass(frozen=True, slots=True)
class _Group:
    """A record inside a record: the values choose one of ``among``, or none."""

    among: tuple[type[Any], ...]
    select: Callable[[Values], type[Any] | None]
    switch: Option[bool] | None = None


@dataclass(frozen=True, slots=True)
class _Computed:
    """A field that is not an option."""

    of: Callable[[Values], Any]


@overload
def option(kind: ValueType[T], default: None, meaning: str, *, name: str = ..., **more: Any) -> T | None: ...


@overload
def option(kind: ValueType[T], default: T, meaning: str, *, name: str = ..., **more: Any) -> T: ...


def option(kind: ValueType[T], default: T | None, meaning: str, *, name: str = "", **more: Any) -> T | None:
    """Declare an option. ``name`` is its flag if the field's name is not; ``more`` as in ``Option``."""
    declared = Option(name, kind, default, meaning, **more)
    return field(default=default, metadata={_DECLARED: declared})


def required(kind: ValueType[T], meaning: str, *, name: str = "", **more: Any) -> T:
    """Like ``option``, for an option that its record requires."""
    declared: Option[T] = Option(name, kind, None, meaning, required=True, **more)
    built: T = field(metadata={_DECLARED: declared})
    return built


def group(record: type[R]) -> R:
    """A field with another record of options."""
    return field(default_factory=record, metadata={_DECLARED: _Group((record,), lambda _: record)})


def switched(record: type[R], switch: Option[bool]) -> R | None:
    """A field with ``record`` if the option ``switch`` is on, else ``None``."""
    declared = _Group((record,), lambda values: record if values[switch.flag] else None, switch)
    return field(default=None, metadata={_DECLARED: declared})


def one_of(select: Callable[[Values], type[Any] | None], *among: type[Any], default: Callable[[], R]) -> R:
    """A field with the record that ``select`` returns, if any; ``among`` are those that declare options."""
    return field(default_factory=default, metadata={_DECLARED: _Group(among, select)})


def computed(of: Callable[[Values], T], default: T, *, compare: bool = True) -> T:
    """A field that is not an option: ``of`` computes it. ``compare``: it counts when records are compared."""
    return field(default=default, compare=compare, metadata={_DECLARED: _Computed(of)})


def options_of(*records: type[Any]) -> tuple[Option[Any], ...]:
    """Every option of the records and their groups, once each, in order of declaration."""
    return tuple({found.flag: found for record in records for found in _walk(record)}.values())


def build(record: type[R], values: Values) -> R:
    """Build ``record`` from the values; raises ``ConfigError`` if a required option is missing."""
    problems = [f"{found.flag}: required{reason}" for found, reason in missing(record, values)]
    if problems:
        raise ConfigError(*problems)
    return _build(record, values)


def missing(record: type[Any], values: Values, reason: str = "") -> Iterator[tuple[Option[Any], str]]:
    """The options that ``record`` requires but that are not set, each with the reason, if any."""
    for declared in _declared_fields(record).values():
        match declared:
            case Option(required=True) if not values.given(declared.flag):
                yield declared, reason
            case _Group(select=select, switch=switch):
                chosen = select(values)
                if chosen is not None:
                    yield from missing(chosen, values, f" by {switch.flag}" if switch else reason)


def _declared_fields(record: type[Any]) -> Mapping[str, Any]:
    """The declaration of each field, with name and section filled in."""
    found = {}
    for entry in fields(record):
        declared = entry.metadata.get(_DECLARED)
        section = getattr(record, "section", "")
        if isinstance(declared, Option):
            declared = replace(
                declared,
                flag=declared.flag or entry.name.replace("_", "-"),
                section=declared.section or section,
            )
        found[entry.name] = declared
    return found


def _walk(record: type[Any]) -> Iterator[Option[Any]]:
    for declared in _declared_fields(record).values():
        match declared:
            case Option():
                yield declared
            case _Group(among=among, switch=switch):
                if switch is not None:
                    yield switch
                for one in among:
                    yield from _walk(one)


def _build(record: type[R], values: Values) -> R:
    built = {}
    for name, declared in _declared_fields(record).items():
        match declared:
            case Option(flag=flag, fallback=fallback):
                built[name] = values[fallback if _falls_back(flag, fallback, values) else flag]
            case _Group(select=select):
                chosen = select(values)
                built[name] = None if chosen is None else _build(chosen, values)
            case _Computed(of=of):
                built[name] = of(values)
    return record(**built)


def _falls_back(flag: str, fallback: str, values: Values) -> bool:
    return bool(fallback) and not values.given(flag) and values.given(fallback)
