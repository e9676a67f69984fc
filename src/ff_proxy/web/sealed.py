"""Large bodies that are sent again and again: copied, or from a nameless file, whichever is quicker here."""

import asyncio
import os
import socket
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from ff_proxy.web.reply import Reply

_FLAGS: Final = getattr(socket, "MSG_MORE", 0) | getattr(socket, "MSG_DONTWAIT", 0)
_TRIES: Final = 9


@final
class Copied:
    """Bytes that the kernel copies."""

    def __init__(self, content: bytes) -> None:
        self._content: Final = content

    def send(self, connection: int, start: bytes) -> int:
        """Send ``start`` and the content to a socket's descriptor, as far as that goes without waiting.

        Returns how many bytes of both have been taken. An error of the connection is not told here: the
        transport, which is given the rest, meets it again.
        """
        try:
            return os.writev(connection, (start, self._content))
        except OSError:
            return 0


@final
class Sealed:
    """Bytes in a file of their own, which the kernel sends without copying; closed when forgotten."""

    def __init__(self, content: bytes) -> None:
        self._size = len(content)
        self._file = os.memfd_create("ff-proxy body")
        weakref.finalize(self, os.close, self._file)
        view = memoryview(content)
        while view:
            view = view[os.write(self._file, view) :]

    def send(self, connection: int, start: bytes) -> int:
        """See ``Copied``."""
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
class Large:
    """A body and the quicker way to send it.

    Which one that is depends on the machine: on some a page costs more to pass on than to copy. So both are
    tried in turn for the first few times, and the one with the better median stays.

    Args:
        content: the body.
        seconds: a timer.
    """

    def __init__(self, content: bytes, seconds: Callable[[], float]) -> None:
        self._seconds: Final = seconds
        self._ways: Final = [Copied(content).send, Sealed(content).send]
        self._costs: Final[list[list[float]]] = [[], []]

    def send(self, connection: int, start: bytes) -> int:
        """See ``Copied``."""
        if len(self._ways) == 1:
            return self._ways[0](connection, start)
        number = len(self._costs[0]) > len(self._costs[1])
        began = self._seconds()
        sent = self._ways[number](connection, start)
        if sent:
            self._costs[number].append((self._seconds() - began) / sent)
            self._decide()
        return sent

    def _decide(self) -> None:
        copied, passed_on = map(sorted, self._costs)
        if len(passed_on) == _TRIES:
            middle = _TRIES // 2
            del self._ways[copied[middle] < passed_on[middle]]


@final
class Vault:
    """Makes them, at most ``capacity`` at a time, where the system can; ``seconds`` is a timer."""

    def __init__(self, capacity: int, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._capacity = capacity if hasattr(os, "memfd_create") else 0
        self._seconds = seconds
        self._held: weakref.WeakSet[Large] = weakref.WeakSet()

    def large(self, reply: "Reply") -> Large | None:
        """The body of ``reply`` as a large one, or ``None`` if that cannot be."""
        if reply.large is None and len(self._held) < self._capacity:
            try:
                reply.large = Large(reply.body, self._seconds)
            except OSError:
                return None
            self._held.add(reply.large)
        return reply.large

    def write(self, transport: asyncio.Transport, descriptor: int, start: bytes, reply: "Reply") -> None:
        """Write a reply whose body stands apart, through ``descriptor`` as far as that goes at once.

        ``start`` is its ``wire``; a negative ``descriptor`` says that bytes have to go the transport's way.
        """
        sent = 0
        if descriptor >= 0 and not transport.get_write_buffer_size():
            large = self.large(reply)
            if large is not None:
                sent = large.send(descriptor, start)
        if sent < len(start):
            transport.write(start[sent:])
        rest = max(sent - len(start), 0)
        if rest < len(reply.body):
            transport.write(memoryview(reply.body)[rest:] if rest else reply.body)
