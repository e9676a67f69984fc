"""Decoding an event stream, without I/O: bytes in, records out (WHATWG HTML §9.2)."""

import re
from typing import Final

import msgspec

from ff_proxy.errors import UpstreamMalformed

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_RECORD_LIMIT: Final = 1024 * 1024


class SseRecord(msgspec.Struct, frozen=True):
    """One dispatched event."""

    event: str
    data: str


class SseDecoder:
    """Decodes chunks that may be split anywhere; lines may end in LF, CRLF or CR.

    ``life_signs`` counts records and comments, which prove that the server sends.

    Args:
        limit: the maximum size of a record in bytes.
    """

    def __init__(self, limit: int = _RECORD_LIMIT) -> None:
        self._limit = limit
        self._line = bytearray()
        self._size = 0
        self._event = ""
        self._data: list[str] = []
        self._after_cr = False
        self._at_start = True
        self.life_signs = 0

    def feed(self, chunk: bytes) -> list[SseRecord]:
        """Decode ``chunk`` and return the records that it completes.

        Raises:
            UpstreamMalformed: a record exceeds the limit.
        """
        if self._after_cr and chunk:
            # The CR already ended its line; a following LF belongs to it.
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        *ended, rest = _LINE_END.split(chunk)
        records: list[SseRecord] = []
        for part in ended:
            self._append(part)
            line = bytes(self._line)
            self._line.clear()
            record = self._process_line(line)
            if record is not None:
                records.append(record)
        self._append(rest)
        self._after_cr = self._after_cr or chunk.endswith(b"\r")
        return records

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise UpstreamMalformed(f"the event stream contains a record larger than {self._limit} bytes")
        self._line += part

    def _process_line(self, line: bytes) -> SseRecord | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        if line.startswith(b":"):
            self.life_signs += 1
            self._size -= len(line)
            return None
        name, _, text = line.partition(b":")
        value = text.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        return None

    def _dispatch(self) -> SseRecord | None:
        record = SseRecord(self._event or "message", "\n".join(self._data)) if self._data else None
        self.life_signs += record is not None
        self._event = ""
        self._data.clear()
        self._size = 0
        return record
