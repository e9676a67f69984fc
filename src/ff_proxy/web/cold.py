"""The ordinary way: one request at a time is lent to uvicorn's protocol, which runs the application."""

import logging
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
        # Errors of the application are logged where it is wrapped; what is left would be about cancelling.
        self.silent: Final = logging.Logger("uvicorn")  # noqa: LOG001  (one that nobody else can find)
        self.silent.disabled = True

    def set_date(self, date: bytes) -> None:
        """The value of ``date`` from now on."""
        self.state.default_headers = [(b"date", date)]


@final
class ColdRequest(HttpToolsProtocol):
    """Serves exactly one request on a transport that belongs to somebody else.

    Args:
        server: the application and what is shared.
        on_response: called when the response has been written.
        owed: bytes of the body; -1 where only the parser can tell, and then the connection ends with it.
        last: the connection ends with this response, whatever the request says.

    Attributes:
        owed: body bytes that are still to come, or -1.
        received: body bytes that came.
        whole: the parser has seen the end of the request.
        broken: the parser refused what it was fed.
    """

    def __init__(self, server: ColdServer, on_response: Callable[[], None], *, owed: int, last: bool) -> None:
        super().__init__(server.config, server.state, {})
        self.logger = server.silent
        self.access_log = False
        self._server = server
        self._on_response = on_response
        self._last = last or owed < 0
        self.owed = owed
        self.received = 0
        self.whole = False
        self.broken = False

    def feed_head(self, head: bytes) -> None:
        """The request's beginning."""
        self._feed(head)

    def feed_body(self, data: bytearray) -> None:
        """Take out of ``data`` what belongs to the body, if the body's end is known; else all of it."""
        part = bytes(data) if self.owed < 0 else bytes(data[: self.owed])
        del data[: len(part)]
        self.received += len(part)
        if self.owed > 0:
            self.owed -= len(part)
        self._feed(part)

    @property
    def hungry(self) -> bool:
        """More bytes are wanted."""
        return self.owed != 0

    @property
    def mistaken(self) -> bool:
        """The two parsers, this one and the edge's, do not agree on where the request ends."""
        return self.broken or (self.owed >= 0 and self.whole is not (self.owed == 0))

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

    @property
    def over(self) -> bool:
        """Nothing is left of it: what comes next on the connection is the next request."""
        return self.answered and self.whole and self.owed == 0

    @property
    def held_back(self) -> bool:
        """It was answered before its client was told to send the body, which may never come now."""
        return self.answered and not self.whole and self.expect_100_continue

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

    def _feed(self, data: bytes) -> None:
        if self.whole:
            return  # what comes after the end is not looked at
        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.broken = not self.whole
