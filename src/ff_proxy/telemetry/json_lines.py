"""Log lines as JSON, cheap enough for one per request."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol

import msgspec

_SECOND: Final = 1_000_000_000
_PLAIN: Final = frozenset({str, int, float, bool, list, dict, type(None)})


class Output(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Write whole lines."""
        ...

    def flush(self) -> object:
        """Flush."""
        ...


class JsonLines:
    """Writes to ``outputs``. A line that cannot be written is dropped: a full disk must not stop us."""

    def __init__(self, *outputs: Output) -> None:
        self._outputs = outputs
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._second = -1
        self._stamp = ""

    def write(self, level: str, event: str, bound: Mapping[str, object], facts: Mapping[str, object]) -> None:
        """Write one line: ``bound``, then ``facts``, then the common fields."""
        line: dict[str, object] = {**bound, **facts, "event": event, "level": level, "ts": self._now()}
        for name, fact in line.items():
            # A fact may be a secret or a record: its ``str`` decides what is shown.
            if type(fact) not in _PLAIN:
                line[name] = str(fact)
        self.send(f"{self._text(line)}\n")

    def send(self, text: str) -> None:
        """Write encoded lines."""
        for output in self._outputs:
            with suppress(OSError, ValueError):
                output.write(text)
                output.flush()

    def beginning(self, bound: Mapping[str, object], facts: Mapping[str, object]) -> str:
        """The start of a line up to ``facts``, for repeated use."""
        return self._text({**bound, **facts})[:-1]

    def end(self, level: str, event: str) -> str:
        """The rest of a line after its start and further facts, each after a comma."""
        return f',"event":"{event}","level":"{level}","ts":"{self._now()}"}}\n'

    def _text(self, line: Mapping[str, object]) -> str:
        try:
            encoded = self._encode(line)
        except (ValueError, TypeError):  # a lone surrogate, or a key that is not text
            encoded = b"\xff"
        # Readers may not expect UTF-8.
        return encoded.decode() if encoded.isascii() else json.dumps(line, default=str)

    def _now(self) -> str:
        second, rest = divmod(time.time_ns(), _SECOND)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{rest // 1000:06d}Z"
