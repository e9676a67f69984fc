"""The sandbox's listening socket, which can be closed and reopened."""

import asyncio
from typing import Final

from starlette.types import ASGIApp

from ff_proxy.errors import StartupError
from ff_proxy.sandbox.connection import Connection
from ff_proxy.sandbox.protocol import Connections, Protocol

_DRAIN_SECONDS: Final = 1.0
_BACKLOG: Final = 4096


class Listener:
    """Accepts connections on one address.

    Args:
        host: the address to listen on.
        port: the port; 0 lets the system choose one, which is then kept.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host: Final = host
        self.port = port
        self._app: ASGIApp | None = None
        self._connections = Connections()
        self._server: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it can be reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def is_open(self) -> bool:
        """Whether it accepts connections."""
        return self._server is not None

    async def start(self, app: ASGIApp) -> None:
        """Serve ``app``; raises ``StartupError`` if the address cannot be bound."""
        self._app = app
        await self.reopen()

    async def reopen(self) -> None:
        """Accept connections again, on the same port."""
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._protocol, self.host, self.port, backlog=_BACKLOG)
        except OSError as error:
            raise StartupError(
                f"the sandbox cannot listen on {self.host}:{self.port} ({error.strerror}); try another -port"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self, seconds: float | None = None) -> None:
        """Refuse connections and reset those that are open; accept again after ``seconds`` if given."""
        self._close_socket()
        for protocol in tuple(self._connections.protocols):
            Connection(protocol.transport).reset()
        if self._reopening is not None:
            self._reopening.cancel()
        if seconds is not None:
            self._reopening = asyncio.get_running_loop().create_task(self._reopen_after(seconds))

    async def close(self) -> None:
        """Stop listening, give pending answers a second, then close every connection."""
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.wait([self._reopening])
        self._close_socket()
        tasks = set(self._connections.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=_DRAIN_SECONDS)
        for protocol in tuple(self._connections.protocols):
            protocol.transport.abort()
        if self._connections.tasks:
            await asyncio.wait(set(self._connections.tasks), timeout=_DRAIN_SECONDS)

    def _close_socket(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reopen_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.reopen()

    def _protocol(self) -> Protocol:
        assert self._app is not None  # noqa: S101  (start sets it before anything is accepted)
        return Protocol(self._app, self._connections)
