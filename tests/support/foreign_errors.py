"""Every error class that Python, asyncio and the libraries of the proxy can raise, found by looking."""

import asyncio
import sqlite3
import ssl
from contextlib import suppress
from typing import Final

import httpx2
import redis.exceptions

from ff_proxy.errors import FfProxyError

LIBRARIES: Final = (asyncio, sqlite3, ssl, httpx2, redis.exceptions)
_ROOTS: Final = {"builtins", "socket", *(library.__name__.partition(".")[0] for library in LIBRARIES)}
_ARGUMENTS: Final[list[tuple[object, ...]]] = [
    (),
    ("text",),
    ("utf-8", b"x", 0, 1, "bad"),
    ("x", 0, 1, "bad"),
    ("MOVED 1 a:1",),
    (b"", 1),
    ("several", [ValueError("one of them")]),
]


def _every(base: type[BaseException]) -> list[type[BaseException]]:
    found = [base]
    for one in base.__subclasses__():
        found += _every(one)
    return found


FOREIGN: Final = sorted(
    {
        kind
        for kind in _every(Exception)
        if not issubclass(kind, FfProxyError) and kind.__module__.partition(".")[0] in _ROOTS
    },
    key=lambda kind: f"{kind.__module__}.{kind.__qualname__}",
)
"""The classes."""


def made(kind: type[BaseException]) -> BaseException | None:
    """An instance, with whatever arguments the class wants; ``None`` if it wants others."""
    for arguments in _ARGUMENTS:
        with suppress(Exception):
            return kind(*arguments)
    return None
