"""The listings of the Harness admin API that a proxy reads: keys and targets, page by page."""

import math
import secrets
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ff_proxy.errors import RequestError
from ff_proxy.sandbox.endpoint import Endpoint, json_response
from ff_proxy.sandbox.environment import Environment, home
from ff_proxy.sandbox.faults import RouteName
from ff_proxy.sandbox.running import RunningSandbox

_DEFAULT_PAGE_SIZE: Final = 15
_REQUIRED: Final = ("accountIdentifier", "orgIdentifier", "projectIdentifier", "environmentIdentifier")


class AdminApi:
    """The handlers of the admin API over one sandbox."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[BaseRoute]:
        """The routes below the URL of the admin service."""
        return [
            Route(path, Endpoint(self._sandbox, name, handler), methods=["GET"])
            for path, name, handler in (
                ("/admin/apikey", RouteName.ADMIN_KEYS, self._keys),
                ("/admin/targets", RouteName.ADMIN_TARGETS, self._targets),
            )
        ]

    async def _keys(self, request: Request) -> Response:
        environment = self._environment(request)
        keys = [
            {
                "name": key.name,
                "identifier": key.name,
                "type": key.type,
                "apiKey": key.masked,
                "key": key.hash,
            }
            for key in environment.keys
        ]
        return self._page(request, "apiKeys", keys)

    async def _targets(self, request: Request) -> Response:
        environment = self._environment(request)
        own = home(environment.info)
        return self._page(request, "targets", [{**target, **own} for target in environment.targets.values()])

    def _environment(self, request: Request) -> Environment:
        state = self._sandbox.state
        # As bytes: a header may contain more than ASCII.
        token = request.headers.get("x-api-key", "").encode()
        if not secrets.compare_digest(token, state.admin_token.encode()):
            raise RequestError(401, "x-api-key is missing or wrong")
        asked = request.query_params
        missing = [name for name in _REQUIRED if not asked.get(name)]
        if missing:
            raise RequestError(400, f"query parameters are missing: {', '.join(missing)}")
        if asked["accountIdentifier"] != state.account:
            raise RequestError(403, "the token is for another account")
        for environment in state.environments.values():
            info = environment.info
            names = (info.organization_identifier, info.project_identifier, info.identifier)
            if names == tuple(asked[name] for name in _REQUIRED[1:]):
                return environment
        raise RequestError(404, "no such organization, project or environment")

    def _page(self, request: Request, name: str, items: Sequence[object]) -> Response:
        number = _number(request, "pageNumber", 0)
        limit = self._sandbox.state.settings.page_size_limit
        size = min(max(_number(request, "pageSize", _DEFAULT_PAGE_SIZE), 1), limit)
        return json_response(
            {
                "itemCount": len(items),
                "pageCount": math.ceil(len(items) / size),
                "pageIndex": number,
                "pageSize": size,
                name: items[number * size : (number + 1) * size],
            }
        )


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal():
        raise RequestError(400, f"{name} is not a number")
    return int(text)
