"""What all routes share: faults, the journal, Harness's form of errors, and authorisation."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ff_proxy.errors import RequestError
from ff_proxy.sandbox.connection import connection_of
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.faults import Fault, RouteName
from ff_proxy.sandbox.keys import Key
from ff_proxy.sandbox.received import ReceivedRequest, masked
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.tokens import read_token

Handler = Callable[[Request], Awaitable[ASGIApp]]

_HANG_LIMIT: Final = 3600.0
_PREFIX: Final = "Bearer "
_HTML: Final = b"<html><head><title>Sign in</title></head><body>Sign in to the guest network</body></html>"
_GARBAGE: Final = b'[{"feature": "half a flag", "variations": ['


def json_response(content: object, status: int = 200) -> Response:
    """``content`` as compact JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def error_response(status: int, message: str) -> Response:
    """An error in the form of the Harness API, where the code is a string."""
    return json_response({"code": str(status), "message": message}, status)


class Endpoint:
    """An ASGI application for one route: applies faults, answers, and records the request.

    Args:
        sandbox: has the faults and the journal.
        route: its name in faults and the journal.
        handler: makes the answer; a ``RequestError`` becomes an error of Harness.
    """

    def __init__(self, sandbox: RunningSandbox, route: RouteName, handler: Handler) -> None:
        self._sandbox = sandbox
        self._route = route
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        with contextlib.suppress(ClientDisconnect):
            await self._serve(Request(scope, receive), send)

    async def _serve(self, request: Request, send: Send) -> None:
        scope = request.scope
        environment = await _environment_of(self._sandbox, request)
        names = frozenset({environment.info.id, environment.info.identifier} if environment else ())
        noted = False

        def note(status: int) -> None:
            nonlocal noted
            if not noted:
                noted = True
                self._sandbox.journal.add(
                    ReceivedRequest(
                        route=self._route,
                        environment=environment.info.id if environment else "",
                        method=request.method,
                        path=scope["raw_path"].decode("ascii"),
                        query=scope["query_string"].decode("ascii"),
                        headers=masked(scope["headers"]),
                        status=status,
                    )
                )

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(message["status"])
            await send(message)

        try:
            await self._answer(request, self._sandbox.faults.take(self._route, names), noting)
        finally:
            note(0)

    async def _answer(self, request: Request, fault: Fault | None, send: Send) -> None:
        if fault is not None and fault.delay_ms:
            await self._wait(fault.delay_ms / 1000)
        if fault is not None and fault.connection:
            await self._forsake(request, hang=fault.connection == "hang")
            return
        if fault is not None and fault.answers and fault.body != "truncated":
            await _faulty_response(fault)(request.scope, request.receive, send)
            return
        try:
            response = await self._handler(request)
        except RequestError as error:
            response = error_response(error.status, error.message)
        if fault is not None and fault.body == "truncated":
            await _send_half(response, request, send)
            return
        await response(request.scope, request.receive, send)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._sandbox.closing.wait()
        except TimeoutError:
            return

    async def _forsake(self, request: Request, *, hang: bool) -> None:
        connection = connection_of(request.scope)
        if not hang:
            connection.reset()
        self._sandbox.hung.add(connection)
        try:
            async with asyncio.timeout(_HANG_LIMIT):
                while (await request.receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            connection.reset()
        finally:
            self._sandbox.hung.discard(connection)


def authorised(sandbox: RunningSandbox, request: Request) -> tuple[Environment, Key]:
    """The environment and key of a request's token; ``RequestError`` 401 if invalid, 403 if revoked."""
    header = request.headers.get("authorization", "")
    claims = read_token(header.removeprefix(_PREFIX)) if header.startswith(_PREFIX) else None
    if claims is None:
        raise RequestError(401, "missing or bad token")
    environment = sandbox.state.environments.get(claims.environment)
    if environment is None:
        raise RequestError(404, "the token's environment does not exist")
    for key in environment.keys:
        if key.hash == claims.key:
            return environment, key
    raise RequestError(403, "the key of this token has been revoked")


def own_environment(sandbox: RunningSandbox, request: Request) -> Environment:
    """The environment in the path; raises ``RequestError`` 403 if it is not the token's."""
    environment, _ = authorised(sandbox, request)
    if request.path_params["environment"] != environment.info.id:
        raise RequestError(403, "the token is for another environment")
    return environment


async def _environment_of(sandbox: RunningSandbox, request: Request) -> Environment | None:
    # Faults and the journal need the environment of refused requests, too.
    named = request.path_params.get("environment") or request.query_params.get("environmentIdentifier")
    if named:
        try:
            return sandbox.state.find(named)
        except RequestError:
            return None
    key = request.headers.get("api-key")
    if key is None and request.method == "POST":
        try:
            body = msgspec.json.decode(await request.body())
        except (ValueError, RecursionError):
            return None
        key = body.get("apiKey") if isinstance(body, dict) else None
    found = sandbox.state.authenticate(key) if isinstance(key, str) else None
    return found[0] if found else None


def _faulty_response(fault: Fault) -> Response:
    status = fault.status or 200
    match fault.body:
        case "html":
            response = Response(_HTML, status, media_type="text/html")
        case "garbage":
            response = Response(_GARBAGE, status, media_type="application/json")
        case "empty":
            response = Response(b"", status)
        case _:
            response = error_response(status, "the sandbox was told to fail")
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response


async def _send_half(response: ASGIApp, request: Request, send: Send) -> None:
    if isinstance(response, Response):
        head = {"status": response.status_code, "headers": response.raw_headers}
        await send({"type": "http.response.start", **head})
        half = bytes(response.body)[: len(response.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
    connection = connection_of(request.scope)
    connection.close()
    while (await request.receive())["type"] != "http.disconnect":
        pass
