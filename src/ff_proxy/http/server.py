"""The server: accepts connections, checks their timeouts every second, and shuts down in phases."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from ff_proxy.http.connection import Connection
from ff_proxy.http.server_state import Admission, ServerState
from ff_proxy.http.sockets import Listening
from ff_proxy.http.tls import Tls
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry

_HANDSHAKE_SECONDS: Final = 10.0
_STEP: Final = 0.02
_BACKLOG: Final = 4096
_AT_ONCE: Final = 16
"""Most connections accepted per turn of the event loop, so that open ones are served in between."""


class HttpServer:
    """The service that owns the listening sockets and the one-second timer of all connections.

    ``run`` serves until cancelled. To shut down, call ``drain_connections``, ``stop_accepting``, ``finish``
    and ``close`` in this order. ``port`` is the port it listens on.

    Args:
        state: the state that its connections share.
        listening: bound sockets; closed with the server.
        clock: time.
        telemetry: logs.
        tls: TLS, if the server speaks it.
    """

    name = "http server"

    def __init__(
        self,
        state: ServerState,
        listening: Listening,
        clock: Clock,
        telemetry: Telemetry,
        *,
        tls: Tls | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self.state: Final = state
        self._listening: Final = tuple(listening)
        name = self._listening[0].getsockname()
        self.port: Final[int] = name[1] if isinstance(name, tuple) else 0
        self._address: Final = name if isinstance(name, str) else f"port {self.port}"
        self._clock = clock
        self._log = telemetry.logger("http")
        self._once = telemetry.once("http")
        self._tls = tls
        self._accepting = False
        self._paused_until = 0
        self._closed = False

    async def start(self) -> None:
        """Accept connections from now on."""
        for one in self._listening:
            one.setblocking(False)
            one.listen(_BACKLOG)
        self._accept_again()
        self._log.info("listening", address=self._address, tls=self._tls is not None)
        self.ready.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        if not self.ready.is_set():
            await self.start()
        try:
            while True:
                await self._clock.sleep(1)
                self.state.tick()
                if not self._accepting and not self.state.closing and self.state.second >= self._paused_until:
                    self._accept_again()
        finally:
            self.close()

    # --- accepting

    def _accept_again(self) -> None:
        self._accepting = True
        loop = asyncio.get_running_loop()
        for one in self._listening:
            loop.add_reader(one.fileno(), self._accept, one)

    def _accept_no_more(self) -> None:
        if self._accepting:
            self._accepting = False
            loop = asyncio.get_running_loop()
            for one in self._listening:
                loop.remove_reader(one.fileno())

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Usually no file descriptors are left: try again in a second.
                self._once.warning(
                    "connections cannot be accepted now", str(error), hint="raise the limit of open files"
                )
                self._accept_no_more()
                self._paused_until = self.state.second + 1
                return
            self._admit(accepted, address[0] if isinstance(address, tuple) else "")

    def _admit(self, accepted: socket.socket, peer: str) -> None:
        accepted.setblocking(False)
        admission = self.state.admit(peer)
        if admission is None:
            if self._tls is None:
                with suppress(OSError):
                    accepted.send(self.state.wire(self.state.over_limit_response))
            accepted.close()
            return
        if accepted.family != socket.AF_UNIX:
            with suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.state.track(asyncio.ensure_future(self._establish(accepted, admission)))

    async def _establish(self, accepted: socket.socket, admission: Admission) -> None:
        secure = None if self._tls is None else self._tls.context
        seconds = None if self._tls is None else _HANDSHAKE_SECONDS
        try:
            _, made = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(self.state, admission), accepted, ssl=secure, ssl_handshake_timeout=seconds
            )
            self.state.established(made, admission)
        except Exception as error:  # noqa: BLE001  (a failed handshake is the client's problem)
            self._log.debug("a connection was not made", error=str(error) or type(error).__name__)
            admission.release()
        except asyncio.CancelledError:
            admission.release()
            raise

    # --- shutdown

    def drain_connections(self) -> None:
        """Keep accepting and answering, but close each connection after its next response."""
        self.state.drain()

    def stop_accepting(self) -> None:
        """Accept no new connections; close idle ones now, the others after their next response."""
        self._accept_no_more()
        for one in self._listening:
            one.close()
        self.state.close_idle()

    async def finish(self, seconds: float) -> None:
        """Wait up to ``seconds`` for requests in progress, then abort the connections that are left."""
        end = self._clock.monotonic() + seconds
        while self.state.connections and self._clock.monotonic() < end:
            await self._clock.sleep(_STEP)
        self.state.abort()

    def close(self) -> None:
        """Stop accepting and abort all connections."""
        self.stop_accepting()
        self.state.abort()
