"""Redis addresses pasted in other programs' notation, and what to write instead."""

import re
from collections.abc import Sequence
from typing import Final

_ADVICE: Final = (
    "write host:port, or rediss://host:port for TLS, and put the password into redis-password or "
    "REDIS_PASSWORD (user: redis-username, database: redis-db)"
)

_NOTATIONS: Final[Sequence[tuple[re.Pattern[str], str]]] = (
    (
        re.compile(r"(^|\s)(redis-cli|valkey-cli)\b|(^|\s)--?[a-z]", re.IGNORECASE),
        f"is a command line of redis-cli: of its -h and -p {_ADVICE}",
    ),
    (
        re.compile(r"^jdbc:", re.IGNORECASE),
        f"is a JDBC address: {_ADVICE}",
    ),
    (
        re.compile(r"^[A-Za-z_][A-Za-z0-9_]*=\w+(\+\w+)?://"),
        "begins with a variable name: write only what follows the =",
    ),
    (
        re.compile(r"""^["'\[{(]|["'\]})]$"""),
        "is in quotes or brackets: write it without them",
    ),
    (
        # Azure, StackExchange.Redis and others, but not the query of a URL.
        re.compile(r"^[^?]*=|[,;]\s*[\w .-]+="),
        f"is a connection string of key=value parts, as Azure gives it: {_ADVICE}",
    ),
    (
        re.compile(r"^(?!\w+(\+\w+)?://).*@", re.DOTALL),
        "holds credentials without a scheme: write redis://USER:PASSWORD@host:port, or rediss:// for TLS",
    ),
    (
        re.compile(r";"),
        "has a semicolon: separate addresses by commas",
    ),
)
# An IPv6 address in brackets.
_IPV6: Final = re.compile(r"^\[[0-9A-Fa-f:.%]+\](:\d+)?(,.*)?$")


def pasted_notation(text: str) -> str | None:
    """What to write instead of ``text`` if it is another program's notation; never quotes ``text``."""
    text = text.strip()
    if _IPV6.match(text):
        return None
    for pattern, advice in _NOTATIONS:
        if pattern.search(text):
            return advice
    return None
