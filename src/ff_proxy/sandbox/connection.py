"""The TCP connection of a request, for faults that HTTP cannot express."""

import asyncio
import os
import socket
import struct
from typing import Final, final

from starlette.types import Scope

EXTENSION: Final = "ff_proxy.sandbox.connection"
"""Where in an ASGI scope's extensions the connection is."""

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


@final
class Connection:
    """Closes or resets a connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def close(self) -> None:
        """Send buffered data, then FIN, even if the answer is incomplete."""
        self._transport.close()

    def reset(self) -> None:
        """Drop buffered data and send RST."""
        peer = self._transport.get_extra_info("socket")
        if peer is not None and not self._transport.is_closing():
            # On a duplicate of the descriptor, since the loop does not give its socket away.
            with socket.socket(fileno=os.dup(peer.fileno())) as duplicate:
                duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()


def connection_of(scope: Scope) -> Connection:
    """The connection of a request."""
    connection: Connection = scope["extensions"][EXTENSION]["connection"]
    return connection
