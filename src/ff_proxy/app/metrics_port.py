"""``/metrics`` on a separate port (option ``prometheus-port``)."""

import asyncio
import socket
from typing import Final

from ff_proxy.api.metrics_page import METRICS_HEADERS, MetricsPage
from ff_proxy.http.buffer_budget import BufferBudget
from ff_proxy.http.cors import Cors
from ff_proxy.http.dispatcher import Dispatcher
from ff_proxy.http.limits import Limits
from ff_proxy.http.observer import NullObserver
from ff_proxy.http.response_cache import ResponseCache
from ff_proxy.http.routes import Route, Routes
from ff_proxy.http.server import HttpServer
from ff_proxy.http.server_state import ServerState
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry

LIMITS: Final = Limits(
    connections=16,
    head_bytes=16 * 1024,
    head_seconds=10,
    body_bytes=0,
    discard_bytes=0,
    answer_seconds=30,
    # Scrapes arrive every minute or so, on the same connection.
    idle_seconds=130,
    stall_seconds=30,
)
"""Few connections; those beyond the limit close after their response."""

_ROUTE_BYTES: Final = 64 * 1024
_UNSENT_BYTES: Final = 64 * 1024 * 1024


class MetricsPort:
    """The service that serves ``page`` on ``listening``; the socket stays open for a restart."""

    name = "metrics"

    def __init__(
        self, page: MetricsPage, listening: socket.socket, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.ready = asyncio.Event()
        self._page = page
        self._listening = listening
        self._clock = clock
        self._telemetry = telemetry

    async def run(self) -> None:
        """Serve until cancelled."""
        clock, telemetry = self._clock, self._telemetry
        routes = [
            Route("GET", path, self._page, headers=METRICS_HEADERS, over_limit=True)
            for path in ("/metrics", "/")
        ]
        dispatcher = Dispatcher(
            Routes(routes), ResponseCache(0), Cors(()), NullObserver(), clock, telemetry, budget=_ROUTE_BYTES
        )
        bodies, unsent = BufferBudget(0), BufferBudget(_UNSENT_BYTES, telemetry.dropped("unsent"))
        state = ServerState(dispatcher, LIMITS, bodies, unsent, clock, telemetry)
        server = HttpServer(state, [self._listening.dup()], clock, telemetry)
        await server.start()
        self.ready.set()
        await server.run()
