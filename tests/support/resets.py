"""Ending connections with RST instead of FIN."""

import asyncio
import socket
import struct
from contextlib import suppress


def reset_when_closed(sock: socket.socket) -> None:
    """Have the system reset the connection when it is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection at once, if it is still there."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            reset_when_closed(sock)
    writer.transport.abort()
