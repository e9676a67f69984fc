"""The seam to the network: requests go out here, and every foreign error is translated here.

``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` are honoured (``outbound_proxy``). Redirects
are not followed: credentials in headers would follow along.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

import httpx2

from ff_proxy.aio.border import border
from ff_proxy.errors import StartupError, UpstreamError, UpstreamMalformed, UpstreamUnavailable
from ff_proxy.tls.certificates import read_der
from ff_proxy.upstream.failure_text import reason, untrusted
from ff_proxy.upstream.outbound_proxy import OutboundProxies

MEBIBYTE: Final = 1024 * 1024
DEFINITE: Final = frozenset({401, 403, 404})

_CONNECT_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 3.0
# Asked for and bounded: the streams' count by the environments, the calls' by the pool.
_CALL_LIMITS: Final = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30.0)
_STREAM_LIMITS: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
# What the client raises only once the request is on its way.
_AFTER_SENDING: Final = (
    httpx2.ReadTimeout,
    httpx2.ReadError,
    httpx2.WriteTimeout,
    httpx2.WriteError,
    httpx2.RemoteProtocolError,
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``url`` is complete and percent-encoded but for the query.

    ``route`` is the path's template: what logs, errors and figures call this request. ``limit`` is the most
    bytes of body that are read, ``deadline`` the seconds until the answer must be there; with ``total`` it
    must have begun by then, go on without longer pauses, and be there after ``total`` seconds. ``definite``
    are the statuses that no repetition of this request will change.
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
    total: float | None = None
    definite: frozenset[int] = DEFINITE

    @property
    def base(self) -> str:
        """The URL that the route was added to, as far as it can be shown: what an option holds."""
        return f"{origin(self.url)}{urlsplit(self.url).path}".rsplit("/", self.route.count("/"))[0]

    def __str__(self) -> str:
        """For messages: method and URL; never a query or a credential."""
        return f"{self.method} {origin(self.url)}{urlsplit(self.url).path}"


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


def translated(
    request: Request, proxy: str = "", certificate: Callable[[], str] = str
) -> AbstractContextManager[None]:
    """Turns whatever the HTTP client, TLS or the event loop raises about ``request`` into our own errors.

    ``proxy`` is the outbound proxy that it goes through, ``certificate`` says what is known of a certificate
    that was refused.
    """
    return border(lambda error: _ours(request, error, proxy, certificate()))


def _ours(request: Request, error: Exception, proxy: str, certificate: str) -> UpstreamError:
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        through = f" through the outbound proxy {proxy}" if proxy else ""
        return UpstreamUnavailable(f"{request}: no answer in time{through} ({type(error).__name__})")
    if isinstance(error, httpx2.DecodingError):
        return UpstreamMalformed(f"{request}: the body's encoding is broken")
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return UpstreamUnavailable(f"{request}: not a URL that can be asked; check the option")
    if isinstance(error, httpx2.HTTPError | httpx2.StreamError | OSError):
        return UpstreamUnavailable(f"{request}: {reason(error, proxy, certificate)}")
    if isinstance(error, ValueError):
        return UpstreamMalformed(f"{request}: cannot be sent ({type(error).__name__})")
    # A fault of the client itself: its text may hold anything, credentials too.
    return UpstreamUnavailable(f"{request}: the HTTP client failed ({type(error).__name__})")


class HttpTransport:
    """The network itself, as an async context manager.

    Args:
        agent: the ``User-Agent``.
        trust: whose certificates are believed.
        proxies: which outbound proxies are used.
        backend: stands in for sockets in tests.

    Raises on entry:
        StartupError: a proxy's address cannot be used.
    """

    def __init__(
        self,
        agent: str,
        trust: ssl.SSLContext,
        proxies: OutboundProxies,
        backend: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._agent = agent
        self._trust = trust
        self._proxies = proxies
        self._backend = backend
        self._stack = AsyncExitStack()
        self._calls: httpx2.AsyncClient
        self._streams: httpx2.AsyncClient
        # By origin, what is known of a certificate that was refused there, until one is taken.
        self._refused: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        # Not in the constructor: it may fail.
        try:
            self._calls = await self._stack.enter_async_context(self._client(self._trust, _CALL_LIMITS))
            self._streams = await self._stack.enter_async_context(self._client(self._trust, _STREAM_LIMITS))
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
        sent = _Sent(request.method)
        try:
            with self._translated(request):
                async with asyncio.timeout(request.total or request.deadline):
                    async with asyncio.timeout(request.deadline):
                        response = await self._answer(self._calls, request, timeout, sent)
                    try:
                        return await _read(response, request)
                    finally:
                        await response.aclose()
        except UpstreamError as error:
            error.perhaps_done = sent.begun or isinstance(error.__cause__, _AFTER_SENDING)
            raise

    @asynccontextmanager
    async def open(self, request: Request, idle: float) -> AsyncIterator[OpenStream]:
        """See ``Transport``."""
        timeout = httpx2.Timeout(idle, connect=_CONNECT_SECONDS)
        with self._translated(request):
            async with asyncio.timeout(request.deadline):
                response = await self._answer(self._streams, request, timeout)
        try:
            yield _Stream(response, request)
        finally:
            with translated(request):
                await response.aclose()

    async def traced(
        self, request: Request, trace: Callable[[str, Mapping[str, Any]], Awaitable[None]]
    ) -> Reply:
        """As ``send``, on a connection of its own, with ``trace`` told of every step of the HTTP client."""
        with self._translated(request):
            async with asyncio.timeout(request.deadline), self._client(self._trust, _CALL_LIMITS) as client:
                foreign = _foreign(
                    client, request, httpx2.Timeout(request.deadline, connect=_CONNECT_SECONDS)
                )
                foreign.extensions["trace"] = trace
                try:
                    response = await client.send(foreign, stream=True)
                except httpx2.HTTPError as error:
                    if untrusted(error) is not None:
                        await self._look_at_certificate(request)
                    raise
                try:
                    return await _read(response, request)
                finally:
                    await response.aclose()

    async def _answer(
        self,
        client: httpx2.AsyncClient,
        request: Request,
        patience: httpx2.Timeout,
        sent: "_Sent | None" = None,
    ) -> httpx2.Response:
        foreign = _foreign(client, request, patience)
        if sent is not None:
            foreign.extensions["trace"] = sent.note
        try:
            response = await client.send(foreign, stream=True)
        except httpx2.HTTPError as error:
            if untrusted(error) is not None:
                await self._look_at_certificate(request)
            raise
        self._refused.pop(origin(request.url), None)
        return response

    def _translated(self, request: Request) -> AbstractContextManager[None]:
        proxy = self._proxies.proxy_of(request.url)
        where = origin(request.url)
        return translated(request, origin(proxy) if proxy else "", lambda: self._refused.get(where, ""))

    async def _look_at_certificate(self, request: Request) -> None:
        """Note who signed the certificate that was refused: the library does not tell.

        It is asked for once more, on a connection that carries nothing of ours.
        """
        where = origin(request.url)
        if where in self._refused or self._backend is not None:
            return
        self._refused[where] = ""
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname = False
        anybody.verify_mode = ssl.CERT_NONE
        host = urlsplit(request.url).hostname
        found: list[bytes] = []

        async def trace(event: str, facts: Mapping[str, Any]) -> None:
            if event.endswith("start_tls.complete"):
                shown = facts["return_value"].get_extra_info("ssl_object")
                if shown.server_hostname == host:
                    found.append(shown.getpeercert(binary_form=True))

        # Whatever comes of it, the request has failed for a reason of its own.
        with suppress(Exception):
            async with asyncio.timeout(_LOOK_SECONDS), self._client(anybody, _CALL_LIMITS) as client:
                await client.request("HEAD", f"{where}/", extensions={"trace": trace})
        with suppress(ValueError, IndexError):
            shown = read_der(found[-1])
            self._refused[where] = f"it is for {shown.subject}, signed by {shown.issuer}"

    def _client(self, trust: ssl.SSLContext, limits: httpx2.Limits) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            headers={"User-Agent": self._agent},
            # SaaS's load balancers must not pin us: no cookie is ever kept.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            transport=self._backend or _Routes(self._proxies, trust, self._trust, limits),
            trust_env=False,
        )


class _Routes(httpx2.AsyncBaseTransport):
    """Straight to a server, or through the proxy for it.

    ``trust`` is for servers, ``proxy_trust`` for proxies that speak TLS themselves.
    """

    def __init__(
        self,
        proxies: OutboundProxies,
        trust: ssl.SSLContext,
        proxy_trust: ssl.SSLContext,
        limits: httpx2.Limits,
    ) -> None:
        self._proxies = proxies
        self._ways = {
            address: httpx2.AsyncHTTPTransport(
                verify=trust,
                limits=limits,
                proxy=_proxy(address, proxy_trust) if address else None,
                trust_env=False,
            )
            for address in {"", proxies.http, proxies.https}
        }

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        way = self._ways[self._proxies.proxy_of(str(request.url))]
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        for way in self._ways.values():
            await way.aclose()


def _proxy(address: str, trust: ssl.SSLContext) -> httpx2.Proxy:
    return httpx2.Proxy(address, ssl_context=trust if address.lower().startswith("https:") else None)


class _Sent:
    """Whether a request has left us, be it in part."""

    def __init__(self, method: str) -> None:
        self._method = method.encode()
        self.begun = False

    async def note(self, event: str, facts: Mapping[str, Any]) -> None:
        """What the HTTP client tells of its steps; a CONNECT before ours is another request."""
        if event.endswith("send_request_headers.started"):
            self.begun = self.begun or facts["request"].method == self._method


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
