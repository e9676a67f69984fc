"""The types of option values: each parses trimmed text and shows values with secrets masked.

``parse`` raises ``ValueError`` with what the value *must be*. The caller names option and source, and quotes
the text unless the type is ``secret``.
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
    MAX_PORT,
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
_MOST_BYTES: Final = 2**63 - 1
_MOST_SECONDS: Final = 10**9
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_URL_FORM: Final = "must be an address such as https://host.example.com/path"
_ZERO: Final = re.compile(r"[+-]?0+(?:\.0*)?")
_SIZE_UNITS: Final = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_QUOTES: Final = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_STRAY_CHARACTERS: Final = {
    **dict.fromkeys(_QUOTES, "a quote"),
    **dict.fromkeys("[](){}<>", "a bracket"),
    ";": "a semicolon",
}


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(StrEnum):
    """The format of log lines; ``auto`` is text on a terminal, else JSON."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class AccessLog(StrEnum):
    """Which requests are logged (spec/behaviour#access-log)."""

    OFF = "off"
    ERRORS = "errors"
    ALL = "all"


class JsonValues(StrEnum):
    """The encoding of a JSON flag's value in an evaluation (the option ``json-values``)."""

    PLAIN = "plain"
    ESCAPED = "escaped"


@dataclass(frozen=True, slots=True)
class ValueType(Generic[T]):
    """A type of value: its ``name`` in the help, how to parse it, and how to show it."""

    name: str
    parse: Callable[[str], T]
    show: Callable[[T], str]
    none: str = ""
    secret: bool = False
    """It is or contains a secret: no message quotes it, and it can be in a file (``NAME_FILE``)."""
    quotable: bool = True
    """Messages may quote the text."""
    joined: bool = False
    """Values of all sources are joined with commas; otherwise the strongest wins."""
    standalone: bool = False
    """The flag needs no value, and never takes the next word."""

    def read(self, text: str) -> T:
        """Parse ``text``; raises ``ValueError`` with what it must be."""
        if not text.isprintable():
            # A line break would end an HTTP header; a lone surrogate could not be encoded.
            raise ValueError("must consist of printable characters in UTF-8")
        if not self.secret and len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
            raise ValueError("must be written without quotes")
        return self.parse(text)


def _not_placeholder(text: str) -> str:
    if text.startswith("<") and text.endswith(">"):
        raise ValueError("must be filled in: it is still a placeholder in angle brackets")
    return text


def _clean(text: str, where: str = "") -> str:
    """Return ``text``; raises ``ValueError`` if it contains characters left behind by shells or templates."""
    _not_placeholder(text)
    for character in text:
        if what := _STRAY_CHARACTERS.get(character):
            raise ValueError(
                f"must not contain quotes, brackets or semicolons: there is {what} ({character}){where}"
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
        raise ValueError("must contain at least one key")
    for position, key in enumerate(keys, start=1):
        if re.search(r"\s", key):
            raise ValueError(f"must be separated by commas: there is a space inside key {position}")
        _clean(key, f" in key {position}")
    return tuple(SdkKey(key) for key in keys)


def _parse_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # its message may contain credentials
        raise ValueError(_URL_FORM) from None
    if not usable or re.search(r"\s", text):
        raise ValueError(_URL_FORM)
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password, because it is logged")
    if "?" in text or "#" in text:
        raise ValueError("must be an address without ? and #, because paths are appended")
    return text.rstrip("/")


def size(minimum: int = 0) -> ValueType[int]:
    """Bytes, from ``minimum`` on, as a number or with a unit."""

    def parse(text: str) -> int:
        match = re.fullmatch(r"(\d{1,18})\s*([A-Za-z]*)", text, re.ASCII)
        if match is None or match[2].upper() not in _SIZE_UNITS:
            raise ValueError("must be a number of bytes, or a number with KiB, MiB or GiB")
        number = int(match[1]) * _SIZE_UNITS[match[2].upper()]
        if number < minimum:
            raise ValueError(f"must be at least {_show_size(minimum)}")
        if number > _MOST_BYTES:
            raise ValueError("must be less than 8 EiB")
        return number

    return ValueType("size", parse, _show_size)


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
    """Whole numbers from ``minimum`` to ``maximum``, inclusive."""
    range_text = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
            raise ValueError(f"must be a whole number {range_text}")
        number = int(text)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(f"must be a whole number {range_text}")
        return number

    return ValueType("int", parse, str)


def seconds(minimum: float = 0) -> ValueType[float]:
    """Seconds, whole or fractional, of at least ``minimum``, and no more than every timer can wait."""

    def parse(text: str) -> float:
        number = float(text) if _DECIMAL.fullmatch(text) else math.nan
        if not number >= minimum:
            raise ValueError(f"must be a number of seconds, at least {minimum:g}, without a unit")
        if number > _MOST_SECONDS:
            raise ValueError(f"must be at most {_MOST_SECONDS} seconds")
        return number

    return ValueType("seconds", parse, lambda number: f"{number:g}")


def choice(words: type[Word], synonyms: Mapping[str, Word] | None = None) -> ValueType[Word]:
    """One of ``words``, ignoring case; ``synonyms`` map to words."""
    known = {word.value.casefold(): word for word in words}
    known |= {synonym.casefold(): word for synonym, word in (synonyms or {}).items()}

    def parse(text: str) -> Word:
        word = known.get(text.casefold())
        if word is None:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return ValueType("|".join(words), parse, lambda word: word.value)


def by_environment(levels: ValueType[T]) -> ValueType[tuple[tuple[str, T], ...]]:
    """A value of ``levels`` for single environments: ``ENVIRONMENT=VALUE``, separated by commas."""

    def parse(text: str) -> tuple[tuple[str, T], ...]:
        found: dict[str, T] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, separator, value = (part.strip() for part in item.partition("="))
            if not (name and separator):
                raise ValueError("must be ENVIRONMENT=VALUE, several separated by commas")
            if name in found:
                raise ValueError(f"must name each environment only once: there is {_clean(name)} twice")
            found[_clean(name)] = levels.parse(value)
        return tuple(found.items())

    def show(values: tuple[tuple[str, T], ...]) -> str:
        return ",".join(f"{name}={levels.show(value)}" for name, value in values)

    return ValueType("list", parse, show, joined=True)


def zero_for_none(numbers: ValueType[T]) -> ValueType[T | None]:
    """``numbers``, or 0, which is read as ``None``."""

    def parse(text: str) -> T | None:
        if _ZERO.fullmatch(text):
            return None
        try:
            return numbers.parse(text)
        except ValueError as error:
            raise ValueError(f"{error}, or 0") from error

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
PORT: Final = whole_number(0, MAX_PORT)
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
