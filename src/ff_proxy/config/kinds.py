"""The types an option's value can have: each reads a trimmed text and shows a value without its secrets.

``parse`` raises ``ValueError`` with what the value *must be*; the caller names option and source, and quotes
the text only if the kind ``may_quote`` it.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from ff_proxy.config.addresses import (
    HostPort,
    RedisAddress,
    parse_host_port,
    parse_redis_address,
)
from ff_proxy.model.keys import SdkKey, Secret

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)

OFF: Final = "off"
HIGHEST_PORT: Final = 65535
_MASK: Final = "***"
_URL_FORM: Final = "must be an address such as https://host.example.com/path"
_SIZE_UNITS: Final = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class LogLevel(StrEnum):
    """How severe a log line has to be to be written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class JsonValues(StrEnum):
    """How the value of a JSON flag stands in an evaluation (PRODUCT §2, json-values)."""

    PLAIN = "plain"
    ESCAPED = "escaped"


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One type of value: ``name`` as the listing shows it, how to read it and how to show it."""

    name: str
    parse: Callable[[str], T]
    show: Callable[[T], str]
    may_quote: bool = True
    joined: bool = False
    """Values of all sources are joined with commas instead of the strongest winning."""


def _not_placeholder(text: str) -> str:
    if text.startswith("<") and text.endswith(">"):
        raise ValueError("must be filled in: it still holds a placeholder in angle brackets")
    return text


def _parse_boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("must be true or false (1 t T TRUE true True, 0 f F FALSE false False)")


def _parse_secret(text: str) -> Secret:
    return Secret(_not_placeholder(text))


def _parse_keys(text: str) -> tuple[SdkKey, ...]:
    keys = dict.fromkeys(item for part in text.split(",") if (item := part.strip()))
    if not keys:
        raise ValueError("must hold at least one key, not only commas")
    for position, key in enumerate(keys, start=1):
        if re.search(r"\s", key):
            raise ValueError(f"must be separated by commas: there is a space inside key {position}")
        _not_placeholder(key)
    return tuple(SdkKey(key) for key in keys)


def _parse_origins(text: str) -> tuple[str, ...]:
    origins = tuple(dict.fromkeys(item for part in text.split(",") if (item := part.strip())))
    if not origins:
        raise ValueError("must hold at least one origin, not only commas")
    for origin in origins:
        if origin in {"*", "null"}:
            continue
        parts = urlsplit(origin)
        if not parts.scheme or not parts.netloc or parts.path or parts.query or parts.fragment:
            raise ValueError(
                "must be * or origins such as https://app.example.com, without a path or a final /"
            )
    return origins


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


def _parse_admin_address(text: str) -> HostPort | None:
    return None if text == OFF else parse_host_port(text)


def _parse_prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", text):
        raise ValueError("must consist of letters, digits and . _ : -")
    return text


def whole_number(minimum: int, maximum: int | None = None) -> Kind[int]:
    """Whole numbers from ``minimum`` to ``maximum``, both included."""
    span = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
            raise ValueError(f"must be a whole number {span}")
        number = int(text)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(f"must be a whole number {span}")
        return number

    return Kind("int", parse, str)


def seconds(minimum: float = 0) -> Kind[float]:
    """Seconds, whole or fractional, of at least ``minimum``."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= minimum):
            raise ValueError(f"must be a number of seconds, at least {minimum:g}, without a unit")
        return number

    return Kind("seconds", parse, lambda number: f"{number:g}")


def choice(words: type[Word], synonyms: Mapping[str, Word] | None = None) -> Kind[Word]:
    """One of ``words``, in any case; ``synonyms`` are read as the word they stand for."""
    known = {word.value.casefold(): word for word in words}
    known |= {synonym.casefold(): word for synonym, word in (synonyms or {}).items()}

    def parse(text: str) -> Word:
        word = known.get(text.casefold())
        if word is None:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return Kind("|".join(words), parse, lambda word: word.value)


BOOLEAN: Final = Kind("bool", _parse_boolean, lambda value: "true" if value else "false")
TEXT: Final = Kind("string", _not_placeholder, str)
PREFIX: Final = Kind("string", _parse_prefix, str)
SECRET: Final[Kind[Secret | None]] = Kind(
    "secret", _parse_secret, lambda value: _MASK if value else "", may_quote=False
)
KEYS: Final = Kind(
    "keys", _parse_keys, lambda keys: ",".join(key.masked for key in keys), may_quote=False, joined=True
)
ORIGINS: Final = Kind("list", _parse_origins, ",".join)
URL: Final = Kind("URL", _parse_url, str, may_quote=False)
FILE: Final[Kind[Path | None]] = Kind("path", Path, lambda path: str(path or ""))
DIRECTORY: Final = Kind("path", Path, str)
SIZE: Final = Kind("size", _parse_size, _show_size)
PORT: Final = whole_number(0, HIGHEST_PORT)
OPTIONAL_PORT: Final[Kind[int | None]] = Kind(
    PORT.name, PORT.parse, lambda port: "" if port is None else str(port)
)
ADMIN_ADDRESS: Final[Kind[HostPort | None]] = Kind(
    "host:port", _parse_admin_address, lambda address: OFF if address is None else str(address)
)
REDIS_ADDRESS: Final[Kind[RedisAddress | None]] = Kind(
    "address", parse_redis_address, lambda address: "" if address is None else str(address), may_quote=False
)
LOG_LEVEL: Final = choice(LogLevel, synonyms={"WARN": LogLevel.WARNING})
JSON_VALUES: Final = choice(JsonValues)
