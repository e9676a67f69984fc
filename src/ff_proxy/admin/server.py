"""The service that serves the admin address, with uvicorn inside this process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn

from ff_proxy.admin.app import AdminApp
from ff_proxy.http.sockets import Listening

_MOST_CONNECTIONS: Final = 64
_IDLE_SECONDS: Final = 30
_ENDING_SECONDS: Final = 0.5


class _Server(uvicorn.Server):
    """Leaves signals to the process that this server is part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class AdminServer:
    """Serves ``app`` on ``listening`` until cancelled."""

    name = "admin address"

    def __init__(self, app: AdminApp, listening: Listening) -> None:
        self.ready = asyncio.Event()
        self._app = app
        self._listening = listening

    async def run(self) -> None:
        """Serve until cancelled; may be called again after a failure."""
        config = uvicorn.Config(
            self._app.asgi,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        # uvicorn closes the sockets it gets: give it copies, so that ours stay bound for another run.
        serving = asyncio.create_task(server.serve([one.dup() for one in self._listening]))
        self.ready.set()
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._app.live.close()
            server.should_exit = server.force_exit = True
            with suppress(TimeoutError):
                await asyncio.wait_for(serving, _ENDING_SECONDS)
            raise
        finally:
            serving.cancel()
