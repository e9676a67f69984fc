"""Frames on a socket: one per message, its length followed by the message."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final, cast, final

from ff_proxy.errors import StoreUnavailable

MAX_FRAME_BYTES: Final = 512 * 1024 * 1024
"""The longest message."""

_LENGTH: Final = 4
# Reading pauses while this many messages wait for ``receive``.
_MOST_RECEIVED: Final = 1000


@final
class FrameConnection(asyncio.Protocol):
    """One end of a connection: messages received in order, and messages to send.

    What is sent in the same turn of the event loop shares a write, and what arrives in one read is there at
    once: a call to the kernel costs more than a message.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._received: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._closed = False

    async def receive(self) -> bytes:
        """The next message; raises ``StoreUnavailable`` when the other side has closed the connection."""
        while not self._received:
            if self._closed:
                raise StoreUnavailable("the other process closed the connection")
            self._arrived.clear()
            if self._paused and self._transport is not None:
                self._transport.resume_reading()
                self._paused = False
            await self._arrived.wait()
        return self._received.popleft()

    def send(self, message: bytes) -> None:
        """Queue one message; dropped if the connection is closed, which ``receive`` tells."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent += (len(message).to_bytes(_LENGTH, "big"), message)

    async def drain(self) -> None:
        """Wait until the other side has read enough, or is gone."""
        await self._writable.wait()

    def close(self) -> None:
        """Send what is queued, and close."""
        self._flush()
        self._close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) >= (begin := start + _LENGTH):
            end = begin + int.from_bytes(buffer[start:begin], "big")
            if end - begin > MAX_FRAME_BYTES:
                self._close()
                return
            if len(buffer) < end:
                break
            self._received.append(bytes(buffer[begin:end]))
            start = end
        del buffer[:start]
        self._arrived.set()
        if len(self._received) >= _MOST_RECEIVED and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        del exc
        self._close()

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._writable.set()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None:
            with suppress(OSError, RuntimeError):  # it is just closing
                self._transport.write(b"".join(unsent))

    def _close(self) -> None:
        self._closed = True
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        self._arrived.set()
        self._writable.set()
