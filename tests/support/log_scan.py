"""What no log of ours may ever hold, looked for in everything that a test's proxies said."""

import re
from pathlib import Path
from typing import Final

_TRACE: Final = "Traceback (most recent call last)"
_TOKEN: Final = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")
# What the tests use for keys, tokens and passwords has one of these in it.
_SECRETS: Final = re.compile(
    r"sandbox-\w+-(?:server|client)-key|sandbox-admin-token|[Ss]3cr3t|raw-key-\w+|t0p-secret"
)


def faults_of(text: str) -> list[str]:
    """Everything in ``text`` that must not be in a log or an error's body; empty if it is clean."""
    found = [_TRACE] if _TRACE in text else []
    return found + _TOKEN.findall(text) + _SECRETS.findall(text)


def scan(directory: Path) -> None:
    """Fail if any log file (``*log*``) below ``directory`` holds a secret or a stack trace."""
    for log in directory.rglob("*log*"):
        if log.is_file():
            found = faults_of(log.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{log.name} holds {sorted(set(found))}"
