"""The listener: binds, accepts for the edge, and goes down in phases (PRODUCT §6.9)."""

import asyncio
import errno
import socket
import sys
from contextlib import suppress
from typing import Final

from ff_proxy.errors import StartupError
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry
from ff_proxy.web.edge import Edge
from ff_proxy.web.health import Gate
from ff_proxy.web.tls import Tls

_BACKLOG: Final = 4096
_HANDSHAKE_SECONDS: Final = 10.0
_STEP: Final = 0.02


def bind(port: int, host: str = "", *, shared: bool = False, option: str = "port") -> socket.socket:
    """A listening socket; by default on every address, in both families where the machine has both.

    ``shared`` is for one of several sockets of ours on that port, among which the system spreads connections.
    ``option`` is the one that chooses the port.

    Raises:
        StartupError: the port is taken or may not be used.
    """
    try:
        if host or not socket.has_dualstack_ipv6():
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=_BACKLOG, reuse_port=shared)
        return socket.create_server(
            ("", port), family=socket.AF_INET6, backlog=_BACKLOG, reuse_port=shared, dualstack_ipv6=True
        )
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL and not host:  # IPv6 is compiled in, but switched off
            return bind(port, "0.0.0.0", shared=shared, option=option)  # noqa: S104  (the operator asked for every address)
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        variable = option.upper().replace("-", "_")
        raise StartupError(
            f"port {port} {reason}; choose another one with -{option} or {variable}"
        ) from error


def bind_each(port: int, processes: int) -> list[socket.socket]:
    """A listening socket for each of our processes on one port; raises ``StartupError``.

    Where the system spreads connections evenly among sockets, each gets its own: long-lived streams do not
    gather at the process that happens to accept fastest, and what waits in a socket survives its process.
    Elsewhere all of them get the same one.
    """
    # Not shared at first: it is to fail if somebody else has the port, ourselves included.
    first = bind(port)
    if not sys.platform.startswith("linux"):
        return [first] * processes
    taken = first.getsockname()[1]
    first.close()
    return [bind(taken, shared=True) for _ in range(processes)]


def stop_listening(listening: socket.socket) -> None:
    """Listen no more until somebody listens again: what waits is refused, and can try our others."""
    with suppress(OSError):  # it does not listen
        listening.shutdown(socket.SHUT_RD)


class Listener:
    """Owns the listening socket and the seconds that its connections are measured in.

    ``run`` serves until cancelled. Going down: ``not_ready``, then ``stop_accepting``, then ``drain``,
    then ``close``; each can be called at any time, in this order. ``port`` is where it listens.

    Args:
        edge: makes protocols for connections.
        listening: a bound socket, closed with the listener.
        gate: told when the process stops wanting requests.
        clock: time.
        telemetry: told where it listens.
        tls: speak TLS.
    """

    name = "listener"

    def __init__(
        self,
        edge: Edge,
        listening: socket.socket,
        gate: Gate,
        clock: Clock,
        telemetry: Telemetry,
        *,
        tls: Tls | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self.port: Final[int] = listening.getsockname()[1]
        self._edge = edge
        self._socket = listening
        self._gate = gate
        self._clock = clock
        self._log = telemetry.logger("web")
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Accept connections from now on."""
        context = None if self._tls is None else self._tls.context
        handshake = None if self._tls is None else _HANDSHAKE_SECONDS
        self._server = await asyncio.get_running_loop().create_server(
            self._edge.connection,
            sock=self._socket,
            backlog=_BACKLOG,
            ssl=context,
            ssl_handshake_timeout=handshake,
        )
        self._log.info("listening", port=self.port, tls=self._tls is not None)
        self.ready.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        if self._server is None:
            await self.start()
        try:
            while True:
                await self._clock.sleep(1)
                self._edge.tick()
        finally:
            self.close()

    @property
    def connected(self) -> int:
        """How many connections there are, streams among them."""
        return len(self._edge.connections) + self._edge.streams

    def not_ready(self) -> None:
        """Tell load balancers to look elsewhere; everything is still served."""
        self._gate.draining = True

    def stop_accepting(self) -> None:
        """No new connections; those that are idle end, the others with their next response."""
        self.not_ready()
        if self._server is not None:
            self._server.close()
        self._edge.close_idle()

    async def drain(self, seconds: float) -> None:
        """Wait for requests that are being answered, at most so long; then end what is left."""
        end = self._clock.monotonic() + seconds
        while self._edge.connections and self._clock.monotonic() < end:
            await self._clock.sleep(_STEP)
        self._edge.abort()

    def close(self) -> None:
        """End everything at once."""
        self.stop_accepting()
        self._edge.abort()
        self._socket.close()
