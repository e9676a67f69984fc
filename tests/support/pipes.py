"""Connections without sockets: bytes go straight into the protocol, and what it writes is kept."""

import asyncio
from collections.abc import Iterable

from ff_proxy.http.connection import Connection
from tests.support.web import Site

_PATIENCE = 2000
_QUIET = 4


class Pipe(asyncio.Transport):
    """A transport whose other side takes everything at once, and gives nothing while reading is paused."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.written = bytearray()
        self._protocol: asyncio.BaseProtocol = protocol
        self._closing = False
        self._reading = True
        self._waiting = bytearray()
        self._loop = asyncio.get_running_loop()
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """The other side sends ``data``."""
        self._waiting += data
        self._deliver()

    def _deliver(self) -> None:
        if self._reading and not self._closing and self._waiting:
            data = bytes(self._waiting)
            self._waiting.clear()
            assert isinstance(self._protocol, asyncio.Protocol)
            self._protocol.data_received(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self.written += data

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        return

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return self._reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        del name
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol


async def converse(site: Site, parts: Iterable[bytes]) -> bytes:
    """Everything that comes back for ``parts``; each is sent when what came before has been dealt with."""
    connection = open_pipe(site)
    pipe = Pipe(connection)
    for part in parts:
        pipe.feed(part)
        await _settled(site, pipe)
    pipe.close()
    await asyncio.sleep(0)
    return bytes(pipe.written)


def open_pipe(site: Site) -> Connection:
    """The protocol of a connection that has been admitted."""
    admission = site.state.admit("pipe")
    assert admission is not None
    return Connection(site.state, admission)


async def _settled(site: Site, pipe: Pipe) -> None:
    """Until nothing is under way any more, or only what waits for more bytes."""
    quiet = 0
    for _ in range(_PATIENCE):
        await asyncio.sleep(0)
        waits = any(not task.done() for task in site.state.tasks)
        quiet = 0 if waits and not pipe.is_closing() else quiet + 1
        if quiet == _QUIET:
            break
