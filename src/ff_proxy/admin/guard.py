"""Middleware for all pages and calls: checks host, origin and token, and adds security headers."""

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ff_proxy.admin.access import AdminAccess, client_address

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN: Final = ("/login", "/static/")
SDK_PORT: Final = "/openapi.json"
"""The OpenAPI document of the SDK port; not below ``/api``, since it describes another port."""

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers would send a null origin with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Passes on requests that ``access`` allows, and reports failures to ``failed``."""

    def __init__(self, app: ASGIApp, access: AdminAccess, failed: Callable[[Exception], object]) -> None:
        self._app = app
        self._access = access
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refusal(HTTPConnection(scope), scope["method"], scope["path"])
        try:
            await (refusal or self._app)(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001  (a failing page must not affect others)
            self._failed(error)
            if not started:
                failure = PlainTextResponse("This page failed; the log says why.\n", 500)
                await failure(scope, receive, send_with_headers)

    def _refusal(self, connection: HTTPConnection, method: str, path: str) -> Response | None:
        access = self._access
        if not access.right_host(connection):
            return _refuse(path, 403, "without admin-token this address accepts only loopback host names")
        if method not in _SAFE and not access.same_origin(connection):
            return _refuse(path, 403, "this request comes from another site")
        if access.open or path.startswith(_OPEN) or access.in_session(connection):
            return None
        return self._check_token(connection, method, path)

    def _check_token(self, connection: HTTPConnection, method: str, path: str) -> Response | None:
        access, address = self._access, client_address(connection)
        presented = access.presented(connection)
        if presented is not None:
            if access.tries.too_many(address):
                return _refuse(path, 429, "too many wrong tokens: wait a minute")
            if access.matches(presented):
                return None
            access.tries.note(address)
            return _refuse(path, 401, "the token is wrong: it must be the value of admin-token")
        if is_call(path) or method not in _SAFE:
            return _refuse(path, 401, "admin-token is required, as a bearer token or basic auth password")
        return RedirectResponse(f"/login?next={quote(path)}", 303)


def _refuse(path: str, status: int, message: str) -> Response:
    headers = {}
    if status == 401:  # noqa: PLR2004  (Unauthorized)
        headers["WWW-Authenticate"] = 'Bearer realm="ff-proxy", Basic realm="ff-proxy"'
    if status == 429:  # noqa: PLR2004  (Too Many Requests)
        headers["Retry-After"] = "60"
    if is_call(path):
        return JSONResponse({"error": message}, status, headers)
    return PlainTextResponse(f"{message}\n", status, headers)


def is_call(path: str) -> bool:
    """Whether it is an API path, whose errors are JSON."""
    return path.startswith("/api/") or path == SDK_PORT
