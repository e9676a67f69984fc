"""The bytes on a stream: SSE records in HTTP chunks, and batches of them that make one write."""

from collections.abc import Iterable
from typing import Final

import msgspec

from ff_proxy.model.environment import Change
from ff_proxy.wire.events import HEARTBEAT, event_record

WRITE_LIMIT: Final = 1024
"""Bytes in one write, well under a TCP segment (spec/behaviour#stream-pacing); one record always fits."""


def chunk(record: bytes) -> bytes:
    """One SSE record as one HTTP/1.1 chunk, since some SDKs read raw bytes (spec/sdk-wire#stream-framing)."""
    return b"%x\r\n%b\r\n" % (len(record), record)


HEARTBEAT_CHUNK: Final = chunk(HEARTBEAT)
LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends the chunked body, so that the client sees a clean end and not a broken connection."""


class Batch(msgspec.Struct, frozen=True):
    """One write: ``data`` holds ``events`` whole chunks; the stream is at ``position`` afterwards."""

    data: bytes
    position: int
    events: int


def event_chunk(change: Change) -> bytes:
    """The chunk of a change's event."""
    return chunk(event_record(change))


def pack(numbered: Iterable[tuple[int, bytes]]) -> Batch | None:
    """Take as many whole chunks from the front as fit one write; each comes with the position after it.

    Returns ``None`` if there are no chunks.
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
