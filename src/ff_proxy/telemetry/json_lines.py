"""Log lines as JSON, cheap enough for one for each request."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, TextIO

import msgspec

_SECOND: Final = 1_000_000_000
_PLAIN: Final = frozenset({str, int, float, bool, list, dict, type(None)})


class JsonLines:
    """Writes to ``out``. A line that cannot be written is lost: a full disk must not end a proxy."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._second = -1
        self._stamp = ""

    def write(self, level: str, event: str, bound: Mapping[str, object], facts: Mapping[str, object]) -> None:
        """One line: ``bound``, then ``facts``, then what every line has."""
        line: dict[str, object] = {**bound, **facts, "event": event, "level": level, "ts": self._now()}
        for name, fact in line.items():
            # A fact of ours may be a secret or a record: its own text decides what is shown.
            if type(fact) not in _PLAIN:
                line[name] = str(fact)
        self.send(f"{self._text(line)}\n")

    def send(self, text: str) -> None:
        """Write lines that are ready."""
        with suppress(OSError, ValueError):
            self._out.write(text)
            self._out.flush()

    def beginning(self, bound: Mapping[str, object], facts: Mapping[str, object]) -> str:
        """What ``write`` begins a line with, to be used many times: as far as the end of ``facts``."""
        return self._text({**bound, **facts})[:-1]

    def end(self, level: str, event: str) -> str:
        """What follows on such a beginning, and on further facts, each after a comma."""
        return f',"event":"{event}","level":"{level}","ts":"{self._now()}"}}\n'

    def _text(self, line: Mapping[str, object]) -> str:
        try:
            encoded = self._encode(line)
        except (ValueError, TypeError):  # half a character, or a key that is no text
            encoded = b"\xff"
        # Whoever reads may not read UTF-8.
        return encoded.decode() if encoded.isascii() else json.dumps(line, default=str)

    def _now(self) -> str:
        second, rest = divmod(time.time_ns(), _SECOND)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{rest // 1000:06d}Z"
