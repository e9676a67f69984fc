"""Helpers for the routes of the control API."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ff_proxy.errors import RequestError
from ff_proxy.sandbox.endpoint import error_response, json_response

ControlHandler = Callable[[Request], Awaitable[object]]
"""Takes a request and returns what to answer as JSON."""

_Body = TypeVar("_Body")


def control_route(method: str, path: str, handler: ControlHandler) -> Route:
    """A route below ``/sandbox``; a ``RequestError`` becomes an error response like Harness's."""

    async def answer(request: Request) -> Response:
        try:
            return json_response(await handler(request))
        except RequestError as error:
            return error_response(error.status, error.message)

    return Route(f"/sandbox{path}", answer, methods=[method])


async def read_body(request: Request, wanted: type[_Body]) -> _Body:
    """The body decoded as ``wanted``; an empty one counts as ``{}``. Raises ``RequestError`` 400."""
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=wanted)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body cannot be used: {error}") from error


def is_announced(request: Request) -> bool:
    """Whether to announce a change to streams: unless the query has ``announce=false``."""
    return request.query_params.get("announce", "true") != "false"
