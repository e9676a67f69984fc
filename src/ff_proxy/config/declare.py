"""How an option is declared: as a field of the record that it arrives in, with everything there is to say.

::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class LimitOptions:
        section: ClassVar[str] = SERVING
        max_body_size: int = option(SIZE, 64 * MEBIBYTE, "Largest request body")

Flag (``max-body-size``) and environment variable (``MAX_BODY_SIZE``) follow from the field's name. Records
hold other records as ``group``s. The parser, the sources, the checks, the help, ``print-config``,
``docs/options.md`` and the record itself are made from these declarations.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar, overload

from ff_proxy.config.value_types import ValueType
from ff_proxy.errors import ConfigError
from ff_proxy.model.keys import Secret

T = TypeVar("T")
R = TypeVar("R")

_DECLARED: Final = "ff_proxy.config"


class Mode(Enum):
    """What the process does (spec/behaviour#modes); the sandbox has options of its own."""

    ONLINE = "online"
    OFFLINE = "offline"
    GENERATE = "generate"
    REPLICA = "replica"


class Status(Enum):
    """What happens to a value that is given."""

    USED = "used"
    PENDING = "pending"
    """Nothing reads the option yet: a value warns. Whoever makes use of it takes the mark away."""
    IGNORED = "ignored"
    """The Go proxy has it; it has no meaning here."""


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """One thing that can be configured. ``meaning`` is a sentence for people, without its full stop.

    ``fallback`` names the option that decides where this one is not given. ``reloadable``: a new value can
    take effect while the process runs. ``in_files`` is false for the options that name files of options.
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
    status: Status = Status.USED
    reloadable: bool = False
    fallback: str = ""
    in_files: bool = True

    @property
    def env(self) -> str:
        """The name of its environment variable."""
        return self.variable or self.flag.upper().replace("-", "_")

    @property
    def env_file(self) -> str | None:
        """The variable that names a file with its value, if it is a secret."""
        return f"{self.env}_FILE" if self.kind.secret else None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it has as a flag."""
        return (self.flag, *self.aliases)

    def show(self, value: T | None) -> str:
        """A value without its secrets; empty for none."""
        return self.kind.none if value is None else self.kind.show(value)

    @property
    def shown_default(self) -> str:
        """The default as the help shows it; empty if there is none."""
        return self.show(self.default)


class Values(Protocol):
    """Effective values by flag, and whether any source gave them."""

    def __getitem__(self, flag: str) -> Any: ...

    def given(self, flag: str) -> bool:
        """Whether any source sets the option."""
        ...

    def untrimmed(self, flag: str) -> str:
        """The text that was given, with the white space around it; empty if none was."""
        ...


@dataclass(frozen=True, slots=True)
class _Group:
    """A record inside a record: which of ``among`` it is, if any, the values decide."""

    among: tuple[type[Any], ...]
    select: Callable[[Values], type[Any] | None]
    switch: Option[bool] | None = None


@dataclass(frozen=True, slots=True)
class _WhetherGiven:
    flag: str


@dataclass(frozen=True, slots=True)
class _Untrimmed:
    flag: str


@dataclass(frozen=True, slots=True)
class _ValueOf:
    flag: str
    default: Any


@overload
def option(kind: ValueType[T], default: None, meaning: str, *, name: str = ..., **more: Any) -> T | None: ...


@overload
def option(kind: ValueType[T], default: T, meaning: str, *, name: str = ..., **more: Any) -> T: ...


def option(kind: ValueType[T], default: T | None, meaning: str, *, name: str = "", **more: Any) -> T | None:
    """A field that is an option. ``name`` is its flag if the field's is not; ``more`` as in ``Option``."""
    declared = Option(name, kind, default, meaning, **more)
    return field(default=default, metadata={_DECLARED: declared})


def required(kind: ValueType[T], meaning: str, *, name: str = "", **more: Any) -> T:
    """As ``option``, for one that its record cannot do without."""
    declared: Option[T] = Option(name, kind, None, meaning, required=True, **more)
    made: T = field(metadata={_DECLARED: declared})
    return made


def group(record: type[R]) -> R:
    """A field that holds another record of options."""
    return field(default_factory=record, metadata={_DECLARED: _Group((record,), lambda _: record)})


def switched(record: type[R], switch: Option[bool]) -> R | None:
    """A field that holds ``record`` while ``switch`` is on, else ``None``."""
    declared = _Group((record,), lambda values: record if values[switch.flag] else None, switch)
    return field(default=None, metadata={_DECLARED: declared})


def one_of(select: Callable[[Values], type[Any]], *among: type[Any], default: Callable[[], R]) -> R:
    """A field that holds the record that ``select`` names; ``among`` are those that declare options."""
    return field(default_factory=default, metadata={_DECLARED: _Group(among, select)})


def whether_given(flag: str) -> bool:
    """A field that says whether somebody chose the option's value, be it the default's."""
    return field(default=False, metadata={_DECLARED: _WhetherGiven(flag)})


def value_of(flag: str, default: T) -> T:
    """A field with the value of an option that another record declares; ``default`` if there is none."""
    return field(default=default, metadata={_DECLARED: _ValueOf(flag, default)})


def untrimmed_secret(flag: str) -> Secret | None:
    """A field with a secret as it was given, if there was white space around it.

    It says how the secret was written, so records are equal without it.
    """
    return field(default=None, compare=False, metadata={_DECLARED: _Untrimmed(flag)})


def options_of(*records: type[Any]) -> tuple[Option[Any], ...]:
    """Every option that the records and their groups declare, once each, in the order of declaration."""
    return tuple({found.flag: found for record in records for found in _walk(record)}.values())


def always_required(record: type[Any]) -> frozenset[str]:
    """The flags of options that ``record`` cannot do without, whichever of its choices are made."""
    found: set[str] = set()
    for declared in _declarations(record).values():
        match declared:
            case Option(required=True):
                found.add(declared.flag)
            case _Group(among=(only,), switch=None):
                found |= always_required(only)
    return frozenset(found)


def build(record: type[R], values: Values) -> R:
    """``record``, made of the values; raises ``ConfigError`` if what it cannot do without is missing."""
    problems = [f"{found.flag}: required{because}" for found, because in missing(record, values)]
    if problems:
        raise ConfigError(*problems)
    return _build(record, values)


def missing(record: type[Any], values: Values, because: str = "") -> Iterator[tuple[Option[Any], str]]:
    """The options that ``record`` cannot do without and nobody has set, each with a reason or none."""
    for declared in _declarations(record).values():
        match declared:
            case Option(required=True) if not values.given(declared.flag):
                yield declared, because
            case _Group(select=select, switch=switch):
                chosen = select(values)
                if chosen is not None:
                    yield from missing(chosen, values, f" by {switch.flag}" if switch else because)


def _declarations(record: type[Any]) -> Mapping[str, Any]:
    """What each field declares, complete with name and section."""
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
    for declared in _declarations(record).values():
        match declared:
            case Option():
                yield declared
            case _Group(among=among, switch=switch):
                if switch is not None:
                    yield switch
                yield from _walk_each(among)


def _walk_each(records: Iterable[type[Any]]) -> Iterator[Option[Any]]:
    for record in records:
        yield from _walk(record)


def _build(record: type[R], values: Values) -> R:
    made = {}
    for name, declared in _declarations(record).items():
        match declared:
            case Option(flag=flag, fallback=fallback):
                made[name] = values[fallback if _falls_back(flag, fallback, values) else flag]
            case _Group(select=select):
                chosen = select(values)
                made[name] = None if chosen is None else _build(chosen, values)
            case _WhetherGiven(flag=flag):
                made[name] = values.given(flag)
            case _Untrimmed(flag=flag):
                text = values.untrimmed(flag)
                made[name] = Secret(text) if text != text.strip() else None
            case _ValueOf(flag=flag, default=default):
                value = values[flag]
                made[name] = default if value is None else value
    return record(**made)


def _falls_back(flag: str, fallback: str, values: Values) -> bool:
    return bool(fallback) and not values.given(flag) and values.given(fallback)
