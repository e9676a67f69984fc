"""A generated file: written, or with --check only compared."""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def write_or_check(name: str, text: str, command: str, arguments: Sequence[str]) -> int:
    """Write the file; with ``--check`` exit code 1 if it does not hold ``text``, which ``command`` writes."""
    path = ROOT / name
    if list(arguments) != ["--check"]:
        path.write_text(text, encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{name} is out of date: run {command}, and commit it\n")
        return 1
    return 0
