"""The types an option's value can have: each reads a trimmed text and shows a value without its secrets.

``parse`` raises ``ValueError`` with what the value *must be*; the caller names option and source, and quotes
the text only if the type holds no ``secret``.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import urlsplit

from ff_proxy.config.addresses import (
    HIGHEST_PORT,
    HostPort,
    Network,
    RedisAddress,
    parse_bind_host,
    parse_host_port,
    parse_networks,
    parse_redis_address,
)
from ff_proxy.config.origins import parse_origins
from ff_proxy.model.keys import SdkKey, Secret

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)

MEBIBYTE: Final = 2**20
OFF: Final = "off"

_MASK: Final = "***"
_URL_FORM: Final = "must be an address such as https://host.example.com/path"
_SIZE_UNITS: Final = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_QUOTES: Final = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_STRAY: Final = {
    **dict.fromkeys(_QUOTES, "a quote"),
    **dict.fromkeys("[](){}<>", "a bracket"),
    ";": "a semicolon",
}


class LogLevel(StrEnum):
    """How severe a log line has to be to be written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(StrEnum):
    """How log lines look; ``auto`` is text on a terminal, else JSON."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class AccessLog(StrEnum):
    """Which requests are logged (spec/behaviour#access-log)."""

    OFF = "off"
    ERRORS = "errors"
    ALL = "all"


class JsonValues(StrEnum):
    """How the value of a JSON flag stands in an evaluation (the option ``json-values``)."""

    PLAIN = "plain"
    ESCAPED = "escaped"


@dataclass(frozen=True, slots=True)
class ValueType(Generic[T]):
    """One type of value: ``name`` as the help shows it, how to read it, and how to show it or ``None``."""

    name: str
    parse: Callable[[str], T]
    show: Callable[[T], str]
    none: str = ""
    secret: bool = False
    """It is or holds a secret: no message quotes it, and a file can hold it (``NAME_FILE``)."""
    quotable: bool = True
    """Messages may repeat the text."""
    joined: bool = False
    """Values of all sources are joined with commas; otherwise the strongest wins."""
    standalone: bool = False
    """The flag needs no value, and never takes the next word."""

    def read(self, text: str) -> T:
        """The value of ``text``; raises ``ValueError`` with what it must be."""
        if not text.isprintable():
            # A line break would end an HTTP header, half a character could not be encoded again.
            raise ValueError("must consist of printable characters in UTF-8")
        if not self.secret and len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
            raise ValueError("must be written without quotes")
        return self.parse(text)


def _not_placeholder(text: str) -> str:
    if text.startswith("<") and text.endswith(">"):
        raise ValueError("must be filled in: it still holds a placeholder in angle brackets")
    return text


def _clean(text: str, where: str = "") -> str:
    """``text``, if it holds none of the characters that shells, lists and templates leave behind."""
    _not_placeholder(text)
    for character in text:
        if what := _STRAY.get(character):
            raise ValueError(
                f"must not hold quotes, brackets or semicolons: there is {what} ({character}){where}"
            )
    return text


def _parse_boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("must be true or false (1 t T TRUE true True, 0 f F FALSE false False)")


def _parse_on_off(text: str) -> bool:
    word = text.casefold()
    if word in {"on", OFF}:
        return word == "on"
    try:
        return _parse_boolean(text)
    except ValueError:
        raise ValueError("must be on or off") from None


def _parse_secret(text: str) -> Secret:
    return Secret(_not_placeholder(text))


def _parse_token(text: str) -> Secret:
    return Secret(_clean(text))


def _parse_keys(text: str) -> tuple[SdkKey, ...]:
    keys = dict.fromkeys(item for part in text.split(",") if (item := part.strip()))
    if not keys:
        raise ValueError("must hold at least one key, not only commas")
    for position, key in enumerate(keys, start=1):
        if re.search(r"\s", key):
            raise ValueError(f"must be separated by commas: there is a space inside key {position}")
        _clean(key, f" in key {position}")
    return tuple(SdkKey(key) for key in keys)


def _parse_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # its message may quote credentials
        raise ValueError(_URL_FORM) from None
    if not usable or re.search(r"\s", text):
        raise ValueError(_URL_FORM)
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password: it is shown in logs")
    if "?" in text or "#" in text:
        raise ValueError("must be an address without ? and #: paths are added to it")
    return text.rstrip("/")


def _parse_size(text: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text)
    if match is None or match[2].upper() not in _SIZE_UNITS:
        raise ValueError("must be a number of bytes, or one with KiB, MiB or GiB behind it")
    return int(match[1]) * _SIZE_UNITS[match[2].upper()]


def _show_size(size: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit} {name}"
    return str(size)


def _parse_prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", text):
        raise ValueError("must consist of letters, digits and . _ : -")
    return text


def _parse_base_path(text: str) -> str:
    path = text.rstrip("/")
    if path and not re.fullmatch(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", path):
        raise ValueError("must be a path such as /feature-flags, of letters, digits and . _ ~ -")
    return path


def whole_number(minimum: int, maximum: int | None = None) -> ValueType[int]:
    """Whole numbers from ``minimum`` to ``maximum``, both included."""
    span = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
            raise ValueError(f"must be a whole number {span}")
        number = int(text)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(f"must be a whole number {span}")
        return number

    return ValueType("int", parse, str)


def seconds(minimum: float = 0) -> ValueType[float]:
    """Seconds, whole or fractional, of at least ``minimum``."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= minimum):
            raise ValueError(f"must be a number of seconds, at least {minimum:g}, without a unit")
        return number

    return ValueType("seconds", parse, lambda number: f"{number:g}")


def choice(words: type[Word], synonyms: Mapping[str, Word] | None = None) -> ValueType[Word]:
    """One of ``words``, in any case; ``synonyms`` are read as the word they stand for."""
    known = {word.value.casefold(): word for word in words}
    known |= {synonym.casefold(): word for synonym, word in (synonyms or {}).items()}

    def parse(text: str) -> Word:
        word = known.get(text.casefold())
        if word is None:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return ValueType("|".join(words), parse, lambda word: word.value)


def by_environment(levels: ValueType[T]) -> ValueType[tuple[tuple[str, T], ...]]:
    """A value of ``levels`` for each of some environments: ``ENVIRONMENT=VALUE``, with commas between."""

    def parse(text: str) -> tuple[tuple[str, T], ...]:
        found: dict[str, T] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, separator, value = (part.strip() for part in item.partition("="))
            if not (name and separator):
                raise ValueError("must be ENVIRONMENT=VALUE, with commas between several")
            if name in found:
                raise ValueError(f"must name each environment once: there is {_clean(name)} twice")
            found[_clean(name)] = levels.parse(value)
        return tuple(found.items())

    def show(values: tuple[tuple[str, T], ...]) -> str:
        return ",".join(f"{name}={levels.show(value)}" for name, value in values)

    return ValueType("list", parse, show, joined=True)


def zero_for_none(numbers: ValueType[T]) -> ValueType[T | None]:
    """``numbers``, and 0, which is read as ``None``."""

    def parse(text: str) -> T | None:
        return numbers.parse(text) or None

    return replace(cast("ValueType[Any]", numbers), parse=parse, none="0")


def _parse_admin_address(text: str) -> HostPort | None:
    return None if text == OFF else parse_host_port(text)


BOOLEAN: Final = ValueType(
    "bool", _parse_boolean, lambda value: "true" if value else "false", standalone=True
)
PRESENCE: Final[ValueType[bool]] = ValueType(
    "any text", lambda text: text not in _FALSE, lambda value: "true" if value else "", standalone=True
)
ON_OFF: Final = ValueType("on|off", _parse_on_off, lambda value: "on" if value else OFF)
TEXT: Final = ValueType("string", _not_placeholder, str)
IDENTIFIER: Final = ValueType("string", _clean, str)
PREFIX: Final = ValueType("string", _parse_prefix, str)
SECRET: Final = ValueType("secret", _parse_secret, lambda value: _MASK if value else "", secret=True)
TOKEN: Final = replace(SECRET, parse=_parse_token)
KEYS: Final = ValueType(
    "keys", _parse_keys, lambda keys: ",".join(key.masked for key in keys), secret=True, joined=True
)
ORIGINS: Final = ValueType("list", parse_origins, ",".join, quotable=False)
NETWORKS: Final[ValueType[tuple[Network, ...]]] = ValueType(
    "list", parse_networks, lambda networks: ",".join(map(str, networks)), quotable=False
)
URL: Final = ValueType("URL", _parse_url, str, quotable=False)
PATH: Final = ValueType("path", Path, str)
BASE_PATH: Final = ValueType("path", _parse_base_path, str)
SIZE: Final = ValueType("size", _parse_size, _show_size)
PORT: Final = whole_number(0, HIGHEST_PORT)
HOST: Final[ValueType[str | Path]] = ValueType(
    "address", parse_bind_host, lambda host: f"unix:{host}" if isinstance(host, Path) else host
)
ADMIN_ADDRESS: Final[ValueType[HostPort | None]] = ValueType("host:port", _parse_admin_address, str, none=OFF)
REDIS_ADDRESS: Final[ValueType[RedisAddress]] = ValueType("address", parse_redis_address, str, secret=True)
LOG_LEVEL: Final = choice(LogLevel, synonyms={"WARN": LogLevel.WARNING})
LOG_LEVELS: Final = by_environment(LOG_LEVEL)
LOG_FORMAT: Final = choice(LogFormat)
ACCESS_LOG: Final = choice(AccessLog)
JSON_VALUES: Final = choice(JsonValues)
