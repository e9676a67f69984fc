"""The seam to the network: requests go out here, and every foreign error is translated here.

``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are
honoured by the HTTP client itself. Redirects are not followed: credentials in headers would follow along.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass, field
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Final, Protocol, Self
from urllib.parse import urlsplit

import httpx2

from ff_proxy.aio.border import border, described
from ff_proxy.errors import StartupError, UpstreamError, UpstreamMalformed, UpstreamUnavailable

MEBIBYTE: Final = 1024 * 1024
DEFINITE: Final = frozenset({401, 403, 404})

_CONNECT_SECONDS: Final = 10.0
# Asked for and bounded: the streams' count by the environments, the calls' by the pool.
_CALL_LIMITS: Final = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30.0)
_STREAM_LIMITS: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=0)


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``url`` is complete and percent-encoded but for the query.

    ``route`` is the path's template: what logs, errors and figures call this request. ``limit`` is the most
    bytes of body that are read, ``deadline`` the seconds until the whole answer must be there, ``definite``
    the statuses that no repetition of this request will change.
    """

    method: str
    url: str
    route: str
    environment: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    limit: int = 16 * MEBIBYTE
    deadline: float = 30.0
    definite: frozenset[int] = DEFINITE

    def __str__(self) -> str:
        """For messages: method, template and host; never a query, a credential or an identifier."""
        return f"{self.method} {self.route} at {origin(self.url)}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer read to its end; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class OpenStream(Protocol):
    """An answer whose body has not been read yet."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; raises ``UpstreamUnavailable`` on silence or a broken connection."""
        ...


class Transport(Protocol):
    """What the two APIs need of a network; raises ``UpstreamUnavailable`` and ``UpstreamMalformed`` only."""

    async def send(self, request: Request) -> Reply:
        """The answer to ``request``, whatever its status."""
        ...

    def open(self, request: Request, idle: float) -> AbstractAsyncContextManager[OpenStream]:
        """The answer's head within the deadline, then its body; ``idle`` seconds of silence end it."""
        ...


def origin(url: str) -> str:
    """``url`` without path, query and credentials."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{host}{port}"


def translated(request: Request) -> AbstractContextManager[None]:
    """Turns whatever the HTTP client, TLS or the event loop raises about ``request`` into our own errors."""
    return border(partial(_ours, request))


def _ours(request: Request, error: Exception) -> UpstreamError:
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return UpstreamUnavailable(f"{request}: no answer in time ({type(error).__name__})")
    if isinstance(error, httpx2.DecodingError):
        return UpstreamMalformed(f"{request}: the body's encoding is broken")
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return UpstreamUnavailable(f"{request}: not a URL that can be asked; check the option")
    if isinstance(error, httpx2.HTTPError | httpx2.StreamError | OSError):
        hint = "; set SSL_CERT_FILE to the certificates to trust" if "CERTIFICATE" in str(error) else ""
        return UpstreamUnavailable(f"{request}: {described(error)}{hint}")
    if isinstance(error, ValueError):
        return UpstreamMalformed(f"{request}: cannot be sent ({type(error).__name__})")
    # A fault of the client itself: its text may hold anything, credentials too.
    return UpstreamUnavailable(f"{request}: the HTTP client failed ({type(error).__name__})")


class HttpTransport:
    """The network itself, as an async context manager.

    Args:
        agent: the ``User-Agent``.
        backend: stands in for sockets in tests; production leaves it out, and with it gets the
            environment's proxies and certificates.
    """

    def __init__(self, agent: str, backend: httpx2.AsyncBaseTransport | None = None) -> None:
        self._agent = agent
        self._backend = backend
        self._stack = AsyncExitStack()
        self._calls: httpx2.AsyncClient
        self._streams: httpx2.AsyncClient

    async def __aenter__(self) -> Self:
        # Not in the constructor: it may fail, and certificates take some 20 ms to read, so once for both.
        try:
            trust = httpx2.create_ssl_context()
        except (OSError, ValueError) as error:
            raise StartupError(f"SSL_CERT_FILE or SSL_CERT_DIR: cannot read certificates: {error}") from error
        try:
            self._calls = await self._stack.enter_async_context(self._client(trust, _CALL_LIMITS))
            self._streams = await self._stack.enter_async_context(self._client(trust, _STREAM_LIMITS))
        except (ValueError, ImportError, httpx2.InvalidURL) as error:
            # The text may quote the address, and with it a password.
            raise StartupError(
                "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY: not a usable address; write http://host:port"
            ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def send(self, request: Request) -> Reply:
        """See ``Transport``."""
        timeout = httpx2.Timeout(request.deadline, connect=_CONNECT_SECONDS)
        with translated(request):
            async with asyncio.timeout(request.deadline):
                response = await self._calls.send(_foreign(self._calls, request, timeout), stream=True)
                try:
                    return await _read(response, request)
                finally:
                    await response.aclose()

    @asynccontextmanager
    async def open(self, request: Request, idle: float) -> AsyncIterator[OpenStream]:
        """See ``Transport``."""
        timeout = httpx2.Timeout(idle, connect=_CONNECT_SECONDS)
        with translated(request):
            async with asyncio.timeout(request.deadline):
                response = await self._streams.send(_foreign(self._streams, request, timeout), stream=True)
        try:
            yield _Stream(response, request)
        finally:
            with translated(request):
                await response.aclose()

    def _client(self, trust: ssl.SSLContext, limits: httpx2.Limits) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            verify=trust,
            limits=limits,
            headers={"User-Agent": self._agent},
            # SaaS's load balancers must not pin us: no cookie is ever kept.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            transport=self._backend,
        )


class _Stream:
    def __init__(self, response: httpx2.Response, request: Request) -> None:
        self._response = response
        self._request = request
        self.status = response.status_code
        self.headers = _lower(response)

    async def chunks(self) -> AsyncIterator[bytes]:
        with translated(self._request):
            async for chunk in self._response.aiter_bytes():
                yield chunk


def _foreign(client: httpx2.AsyncClient, request: Request, timeout: httpx2.Timeout) -> httpx2.Request:
    return client.build_request(
        request.method,
        request.url,
        params=request.query or None,
        headers=dict(request.headers),
        content=request.body,
        timeout=timeout,
    )


def _lower(response: httpx2.Response) -> Mapping[str, str]:
    return {name.lower(): text for name, text in response.headers.items()}


async def _read(response: httpx2.Response, request: Request) -> Reply:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > request.limit:
            raise UpstreamMalformed(f"{request}: the body is larger than {request.limit} bytes")
    return Reply(response.status_code, _lower(response), bytes(body))
