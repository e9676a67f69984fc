"""The control API below ``/sandbox``: look at the sandbox, change what it serves, make it misbehave."""

from typing import Final

from starlette.requests import Request
from starlette.routing import BaseRoute

from ff_proxy.sandbox.control_config import ConfigControl
from ff_proxy.sandbox.control_faults import FaultControl
from ff_proxy.sandbox.control_routes import control_route
from ff_proxy.sandbox.listener import Listener
from ff_proxy.sandbox.site import Site

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


class ControlApi:
    """The whole control API over one site and its listening socket."""

    def __init__(self, site: Site, listener: Listener) -> None:
        self._parts = (ConfigControl(site), FaultControl(site, listener))

    def routes(self) -> list[BaseRoute]:
        """Its routes."""
        return [
            control_route("GET", "", _contents),
            *(route for part in self._parts for route in part.routes()),
        ]


async def _contents(_: Request) -> dict[str, str]:
    return _CONTENTS
