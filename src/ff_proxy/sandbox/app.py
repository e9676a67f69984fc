"""The ASGI application: Harness's paths, the control API, and what browsers need."""

import re
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
from ff_proxy.sandbox.site import Site

CLIENT_BASE: Final = "/api/1.0"
"""Where Harness's client, stream and metrics services live below their hosts."""

ADMIN_BASE: Final = "/gateway/cf"
"""Where Harness's admin service lives below its host."""

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


class App:
    """Every route, at the root and below the base paths of Harness; doubled slashes after a base are one.

    SDKs append paths to the base URL that they are given, which may end with a slash.
    """

    def __init__(self, site: Site, listener: Listener) -> None:
        client = ClientApi(site).routes()
        admin = AdminApi(site).routes()
        router = Router(
            [
                Mount(CLIENT_BASE, app=Router(client, redirect_slashes=False)),
                Mount(ADMIN_BASE, app=Router(admin, redirect_slashes=False)),
                control_route("GET", "", _contents),
                *ConfigControl(site).routes(),
                *FaultControl(site, listener).routes(),
                *Page(site).routes(),
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
