"""What goes over an open stream: records in HTTP chunks, and how many of them make one write."""

from collections.abc import Iterable
from typing import Final

import msgspec

from ff_proxy.model.environment import Change
from ff_proxy.wire.events import HEARTBEAT, event_record

WRITE_LIMIT: Final = 1024
"""Bytes in one write, well under a TCP segment (spec/behaviour#stream-pacing); one record always fits."""


def chunk(record: bytes) -> bytes:
    """One SSE record as one HTTP/1.1 chunk: some readers take raw bytes (spec/sdk-wire#stream-framing)."""
    return b"%x\r\n%b\r\n" % (len(record), record)


HEARTBEAT_CHUNK: Final = chunk(HEARTBEAT)
LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends the chunked body: the client sees a clean end, not a broken connection."""


class Batch(msgspec.Struct, frozen=True):
    """What one write carries: ``data`` is ``events`` whole chunks; a reader then stands at ``position``."""

    data: bytes
    position: int
    events: int


def event_chunk(change: Change) -> bytes:
    """A change as SDKs are told of it."""
    return chunk(event_record(change))


def pack(numbered: Iterable[tuple[int, bytes]]) -> Batch | None:
    """As many whole chunks as fit one write, from the front; each comes with the position after it.

    ``None`` if there is none.
    """
    chunks: list[bytes] = []
    size = 0
    position = 0
    for after, data in numbered:
        if chunks and size + len(data) > WRITE_LIMIT:
            break
        chunks.append(data)
        size += len(data)
        position = after
    return Batch(b"".join(chunks), position, len(chunks)) if chunks else None
