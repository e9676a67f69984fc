"""Runs a sandbox: Harness's paths, the control API and what browsers need, as an ASGI application."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.routing import Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ff_proxy.sandbox.admin_api import AdminApi
from ff_proxy.sandbox.client_api import ClientApi
from ff_proxy.sandbox.control_config import ConfigControl
from ff_proxy.sandbox.control_faults import FaultControl
from ff_proxy.sandbox.control_routes import control_route
from ff_proxy.sandbox.listener import Listener
from ff_proxy.sandbox.page import Page
from ff_proxy.sandbox.running import ADMIN_BASE, CLIENT_BASE, RunningSandbox
from ff_proxy.sandbox.state import SandboxState

_CONTENTS: Final = {
    "environments": "/sandbox/environments",
    "flip": "POST /sandbox/flip",
    "set": "POST /sandbox/set",
    "usage": "/sandbox/usage",
    "requests": "/sandbox/requests",
    "streams": "/sandbox/streams",
    "faults": "/sandbox/faults",
    "settings": "/sandbox/settings",
}
_PREFLIGHT_SECONDS: Final = 7200
_DOUBLED: Final = re.compile(rf"^((?:{CLIENT_BASE}|{ADMIN_BASE})?)/{{2,}}")


@asynccontextmanager
async def serve(state: SandboxState, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[RunningSandbox]:
    """Serve ``state`` until the context is left; port 0 lets the system choose.

    Raises ``StartupError`` if the address cannot be bound.
    """
    sandbox = RunningSandbox(state, Listener(host, port))
    await sandbox.listener.start(_App(sandbox))
    try:
        yield sandbox
    finally:
        await sandbox.close()


class _App:
    """Every route, at the root and below the base paths of Harness; doubled slashes after a base are one.

    SDKs append paths to the base URL that they are given, which may end with a slash.
    """

    def __init__(self, sandbox: RunningSandbox) -> None:
        client = ClientApi(sandbox).routes()
        admin = AdminApi(sandbox).routes()
        router = Router(
            [
                Mount(CLIENT_BASE, app=Router(client, redirect_slashes=False)),
                Mount(ADMIN_BASE, app=Router(admin, redirect_slashes=False)),
                control_route("GET", "", _contents),
                *ConfigControl(sandbox).routes(),
                *FaultControl(sandbox).routes(),
                *Page(sandbox).routes(),
                *client,
                *admin,
            ],
            redirect_slashes=False,
        )
        self._app: ASGIApp = CORSMiddleware(
            router, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], max_age=_PREFLIGHT_SECONDS
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["path"] = _DOUBLED.sub(r"\1/", scope["path"])
        await self._app(scope, receive, send)


async def _contents(_: Request) -> dict[str, str]:
    return _CONTENTS
