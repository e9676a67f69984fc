"""Large bodies that are sent again and again: the kernel takes them from a nameless file without copying."""

import asyncio
import os
import socket
import weakref
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from ff_proxy.web.reply import Reply

_FLAGS: Final = getattr(socket, "MSG_MORE", 0) | getattr(socket, "MSG_DONTWAIT", 0)


@final
class Sealed:
    """Bytes in a file of their own; closed when the object is forgotten."""

    def __init__(self, content: bytes) -> None:
        self._size = len(content)
        self._file = os.memfd_create("ff-proxy body")
        weakref.finalize(self, os.close, self._file)
        view = memoryview(content)
        while view:
            view = view[os.write(self._file, view) :]

    def send(self, connection: int, start: bytes) -> int:
        """Send ``start`` and the content to a socket's descriptor, as far as that goes without waiting.

        Returns how many bytes of both have been taken. An error of the connection is not told here: the
        transport, which is given the rest, meets it again.
        """
        sent = 0
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, connection)
        try:
            sent = plain.send(start, _FLAGS)
            if sent == len(start):
                sent += os.sendfile(connection, self._file, 0, self._size)
        except OSError:
            return sent
        finally:
            plain.detach()
        return sent


@final
class Vault:
    """Makes them, at most ``capacity`` at a time, where the system can."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity if hasattr(os, "memfd_create") else 0
        self._held: weakref.WeakSet[Sealed] = weakref.WeakSet()

    def sealed(self, reply: "Reply") -> Sealed | None:
        """The body of ``reply`` sealed, or ``None`` if that cannot be."""
        if reply.sealed is None and len(self._held) < self._capacity:
            try:
                reply.sealed = Sealed(reply.body)
            except OSError:
                return None
            self._held.add(reply.sealed)
        return reply.sealed

    def write(self, transport: asyncio.Transport, descriptor: int, start: bytes, reply: "Reply") -> None:
        """Write a reply whose body stands apart, through ``descriptor`` as far as that goes at once.

        ``start`` is its ``wire``; a negative ``descriptor`` says that bytes have to go the transport's way.
        """
        sent = 0
        if descriptor >= 0 and not transport.get_write_buffer_size():
            sealed = self.sealed(reply)
            if sealed is not None:
                sent = sealed.send(descriptor, start)
        if sent < len(start):
            transport.write(start[sent:])
        rest = max(sent - len(start), 0)
        if rest < len(reply.body):
            transport.write(memoryview(reply.body)[rest:] if rest else reply.body)
