"""Output of commands: JSON for programs, text for people, progress on a terminal."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import msgspec

_RESET: Final = "\x1b[0m"
_CLEAR: Final = "\r\x1b[K"
_COLUMNS: Final = 80


def write_json(out: TextIO, record: Mapping[str, Any]) -> None:
    """Write one JSON document, indented; in ASCII, which every stream can encode."""
    out.write(f"{json.dumps(msgspec.to_builtins(record), indent=2)}\n")


def write_text(out: TextIO, *lines: str) -> None:
    """Write lines of text; characters that cannot be encoded are escaped."""
    out.writelines(f"{line.encode('utf-8', 'backslashreplace').decode()}\n" for line in lines)


class Terminal:
    """Writes to ``out``, with colours and a line of progress where it is a terminal.

    It honours the variables ``NO_COLOR`` and ``TERM``.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.interactive: Final = out.isatty() and os.environ.get("TERM") != "dumb"
        self._colors = self.interactive and not os.environ.get("NO_COLOR")
        self._shown = False

    def colored(self, text: str, code: int) -> str:
        """``text`` in a colour of ANSI terminals, or as it is."""
        return f"\x1b[{code}m{text}{_RESET}" if self._colors else text

    def progress(self, text: str) -> None:
        """Replace the line of progress by ``text``, on a terminal."""
        if self.interactive:
            columns = os.get_terminal_size(self._out.fileno()).columns or _COLUMNS
            self._out.write(f"{_CLEAR}{text[: columns - 1]}")
            self._out.flush()
            self._shown = bool(text)

    def clear(self) -> None:
        """Remove the line of progress."""
        if self._shown:
            self.progress("")


def standard_error() -> Terminal:
    """The terminal for progress, which must not mix with the output."""
    return Terminal(sys.stderr)
