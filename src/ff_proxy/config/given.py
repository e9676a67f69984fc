"""A value as somebody gave it, before it has been read."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum
from typing import Any

from ff_proxy.config.option import Option


class Source(IntEnum):
    """Where values come from; a lower number is stronger (PRODUCT §2)."""

    FLAG = 0
    ENVIRONMENT = 1
    ENV_FILE = 2
    CONFIG_FILE = 3


@dataclass(frozen=True, slots=True)
class Given:
    """The trimmed, non-empty ``text`` for ``option``; ``place`` says where it stands, for people."""

    option: Option[Any]
    text: str
    source: Source
    place: str

    def __repr__(self) -> str:
        # The text may be a secret, and no log needs it.
        return f"Given({self.option.flag}, {self.place})"


def nearest(name: str, names: Sequence[str], *, prefix: str = "") -> str:
    """A hint such as ``; did you mean -port?``, or nothing if no name comes close."""
    by_plain = {_plain(known): known for known in reversed(names)}
    matches = get_close_matches(_plain(name), by_plain, n=1)
    return f"; did you mean {prefix}{by_plain[matches[0]]}?" if matches else ""


def _plain(name: str) -> str:
    return name.replace("_", "-").casefold()
