"""The ordinary way: one request at a time is lent to uvicorn's protocol, which runs the application."""

from collections.abc import Callable
from typing import Final, final

from httptools import HttpParserError, HttpParserUpgrade
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState


class _EnoughError(Exception):
    """Makes the parser stop where the one request ends."""


@final
class ColdServer:
    """What uvicorn's protocol needs of a server: this house has its own, which owns sockets and signals."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: Final = ServerState()
        self.config: Final = Config(
            app,
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            workers=1,
        )
        self.config.load()

    def set_date(self, date: bytes) -> None:
        """The value of ``date`` from now on."""
        self.state.default_headers = [(b"date", date)]


@final
class ColdRequest(HttpToolsProtocol):
    """Serves exactly one request on a transport that belongs to somebody else.

    Args:
        server: the application and what is shared.
        on_response: called when the response has been written.
        last: the connection ends with this response, whatever the request says.
    """

    def __init__(self, server: ColdServer, on_response: Callable[[], None], *, last: bool) -> None:
        super().__init__(server.config, server.state, {})
        self._server = server
        self._on_response = on_response
        self._last = last
        self.whole = False
        """The parser has seen the end of the request."""
        self.broken = False
        """The parser refused what it was fed."""

    def feed(self, data: bytes) -> None:
        """More bytes of the request; what comes after its end is not looked at."""
        if self.whole:
            return
        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.broken = not self.whole

    def on_headers_complete(self) -> None:
        """See uvicorn."""
        super().on_headers_complete()
        if self._last:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """See uvicorn."""
        self.whole = True
        super().on_message_complete()
        if self._last:
            raise _EnoughError

    def on_response_complete(self) -> None:
        """See uvicorn; timers and what comes next are the edge's."""
        self.flow.resume_reading()
        self._on_response()

    @property
    def started(self) -> bool:
        """The response has begun."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn declares it set from the start
        return cycle is not None and cycle.response_started

    @property
    def answered(self) -> bool:
        """The response has been written."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.response_complete

    def let_go(self) -> None:
        """The connection ends with this response."""
        self._last = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None:
            cycle.keep_alive = False

    def release(self, lost: Exception | None) -> None:
        """The transport is needed no more; with ``lost`` the application learns that its client is gone."""
        self._server.state.connections.discard(self)
        if lost is not None:
            self.connection_lost(lost)
