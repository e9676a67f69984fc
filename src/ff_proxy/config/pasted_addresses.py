"""Redis addresses in the notation of other programs, which people paste: what to write instead."""

import re
from collections.abc import Sequence
from typing import Final

_WRITE: Final = (
    "write host:port, or rediss://host:port for TLS, and put the password into redis-password or "
    "REDIS_PASSWORD (user: redis-username, database: redis-db)"
)

_NOTATIONS: Final[Sequence[tuple[re.Pattern[str], str]]] = (
    (
        re.compile(r"(^|\s)(redis-cli|valkey-cli)\b|(^|\s)--?[a-z]", re.IGNORECASE),
        f"is a command line of redis-cli: of its -h and -p {_WRITE}",
    ),
    (
        re.compile(r"^jdbc:", re.IGNORECASE),
        f"is a JDBC address: {_WRITE}",
    ),
    (
        re.compile(r"^[A-Za-z_][A-Za-z0-9_]*=\w+(\+\w+)?://"),
        "begins with the name of a variable: write what stands behind its =",
    ),
    (
        re.compile(r"""^["'\[{(]|["'\]})]$"""),
        "stands in quotes or brackets: write it without them",
    ),
    (
        # Azure, StackExchange.Redis and others; a query of a URL is not meant.
        re.compile(r"^[^?]*=|[,;]\s*[\w .-]+="),
        f"is a connection string of key=value parts, as Azure gives it: {_WRITE}",
    ),
    (
        re.compile(r"^(?!\w+(\+\w+)?://).*@", re.DOTALL),
        "holds credentials without a scheme: write redis://USER:PASSWORD@host:port, or rediss:// for TLS",
    ),
    (
        re.compile(r";"),
        "has a semicolon: several addresses stand with commas between",
    ),
)
# An IPv6 address stands in brackets.
_SIX: Final = re.compile(r"^\[[0-9A-Fa-f:.%]+\](:\d+)?(,.*)?$")


def pasted_notation(text: str) -> str | None:
    """What is wrong with ``text`` if it is another program's notation, without any part of it."""
    text = text.strip()
    if _SIX.match(text):
        return None
    for pattern, what in _NOTATIONS:
        if pattern.search(text):
            return what
    return None
