"""The ASGI application of the admin address, and the service that keeps its history."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ff_proxy.admin.access import AdminAccess
from ff_proxy.admin.api import Api
from ff_proxy.admin.changes import ChangeLog
from ff_proxy.admin.guard import SDK_PORT, Guard, is_call
from ff_proxy.admin.live import Live
from ff_proxy.admin.metrics import History
from ff_proxy.admin.openapi import openapi
from ff_proxy.admin.pages import Pages
from ff_proxy.admin.ports import AdminPorts
from ff_proxy.admin.rendering import make_templates
from ff_proxy.admin.views import Reader
from ff_proxy.snapshots.registry import Announcement
from ff_proxy.telemetry import Logger

_STATIC: Final = Path(__file__).parent / "static"


class AdminApp:
    """Pages and API of one proxy.

    Attributes:
        asgi: the application, behind its ``Guard``.
        history: the service that keeps the metrics of the last hour.
        live: the event streams of open pages.
    """

    def __init__(self, ports: AdminPorts, log: Logger, failed: Callable[[Exception], object]) -> None:
        self.history: Final = History(ports.collect, ports.clock)
        self.live: Final = Live()
        self._changes = ChangeLog(ports.clock)
        ports.snapshots.listen(self._announced)
        reader = Reader(ports, self._changes)
        access = AdminAccess(ports.token, ports.clock)
        pages = Pages(ports, reader, self.history, access, make_templates(), self.live, log)
        api = Api(ports, reader, self.history, log)
        document = openapi(api.operations(), ports.facts.version)

        async def describe(_: Request) -> Response:
            return Response(document, media_type="application/json")

        async def describe_sdk_port(_: Request) -> Response:
            return Response(await asyncio.to_thread(ports.sdk_port), media_type="application/json")

        async def refused(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)  # noqa: S101  (registered for these only)
            if is_call(request.url.path):
                return JSONResponse({"error": error.detail}, error.status_code, error.headers)
            message = {404: "There is no such page."}.get(error.status_code, error.detail)
            return await pages.problem(request, error.status_code, message)

        app = Starlette(
            routes=[
                Route("/api/openapi.json", describe),
                Route(SDK_PORT, describe_sdk_port),
                *api.routes(),
                Mount("/static", StaticFiles(directory=_STATIC)),
                *pages.routes(),
            ],
            exception_handlers={HTTPException: refused},
        )
        self.asgi: Final[ASGIApp] = Guard(app, access, failed)

    def _announced(self, announcement: Announcement) -> None:
        self._changes.note(announcement)
        self.live.notify()
