"""The TCP connection beneath a request, for answers that HTTP has no words for."""

import asyncio
import os
import socket
import struct
from typing import Final, final

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_EXTENSION: Final = "ff_proxy.sandbox.connection"
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


@final
class Connection:
    """Ends a connection early: politely, or as a machine does that lost its mind."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def close(self) -> None:
        """Send what is buffered, then FIN, whether or not the answer was complete."""
        self._transport.close()

    def reset(self) -> None:
        """Drop what is buffered and answer with RST."""
        peer = self._transport.get_extra_info("socket")
        if peer is not None and not self._transport.is_closing():
            # On a duplicate, because the loop keeps its socket object to itself; both are one socket.
            with socket.socket(fileno=os.dup(peer.fileno())) as duplicate:
                duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()


class Protocol(HttpToolsProtocol):
    """The server's HTTP protocol, with the connection handed to the application."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"connection": Connection(self.transport)}}


def connection_of(scope: Scope) -> Connection:
    """The connection that a request came on."""
    connection: Connection = scope["extensions"][_EXTENSION]["connection"]
    return connection
