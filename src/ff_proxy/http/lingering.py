"""Lingering close: reads and drops what a client still sends after the last response."""

import asyncio
from collections.abc import Callable
from typing import Final, final

from ff_proxy.http.outgoing import Outgoing
from ff_proxy.http.server_state import ServerState

_SILENT_SECONDS: Final = 2
_MOST_SECONDS: Final = 30


@final
class Lingering(asyncio.Protocol):
    """Reads and drops for a while before closing: a TCP reset could overtake the response.

    Args:
        state: the server's shared state.
        transport: the connection; its protocol is replaced.
        outgoing: the rest of the response.
        closed: called once, when the connection is closed.
    """

    # fmt: off
    __slots__ = (
        "_active", "_closed", "_outgoing", "_received", "_seen", "_since", "_state", "_transport", "logs",
    )
    # fmt: on

    def __init__(
        self,
        state: ServerState,
        transport: asyncio.Transport,
        outgoing: Outgoing,
        closed: Callable[[], None],
    ) -> None:
        self._state: Final = state
        self._transport: Final = transport
        self._outgoing: Final = outgoing
        self._closed: Final = closed
        self._received = 0
        self.logs = False  # there are no further requests to log
        self._active = False
        self._seen = self._since = state.second
        state.connections.add(self)
        transport.set_protocol(self)
        if not transport.is_closing():
            if not transport.is_reading():
                transport.resume_reading()
            if not outgoing.busy:
                self._half_close()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._active = True
        self._received += len(data)
        if self._received > self._state.limits.discard_bytes:
            self._transport.abort()

    def pause_writing(self) -> None:
        """See asyncio."""
        self._outgoing.pause(self._state.second)

    def resume_writing(self) -> None:
        """See asyncio."""
        if self._outgoing.resume():
            self._half_close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        del exc
        self._outgoing.release()
        self._state.connections.discard(self)
        self._closed()

    def _half_close(self) -> None:
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def check(self) -> None:
        """See ``OpenConnection``."""
        now = self._state.second
        if self._active:
            self._active, self._seen = False, now
        if self._outgoing.busy or self._transport.is_closing():
            if self._outgoing.stalled(now, self._state.limits.stall_seconds):
                self._transport.abort()
        elif now - self._seen > _SILENT_SECONDS or now - self._since > _MOST_SECONDS:
            self._transport.close()

    def drain(self) -> None:
        """See ``OpenConnection``; no further response follows anyway."""

    def close_if_idle(self) -> None:
        """See ``OpenConnection``; it is closing already."""

    def abort(self) -> None:
        """See ``OpenConnection``."""
        self._transport.abort()
