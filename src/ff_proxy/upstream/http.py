"""The HTTP client: sends requests and translates the errors of libraries.

``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` are honoured (``outbound_proxy``). Redirects
are not followed, because they would carry credentials in headers.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

from ff_proxy.aio.border import border
from ff_proxy.errors import StartupError, UpstreamError, UpstreamMalformed, UpstreamUnavailable
from ff_proxy.tls.certificates import Certificate, read_der
from ff_proxy.upstream.failure_text import reason, untrusted
from ff_proxy.upstream.outbound_proxy import OutboundProxies
from ff_proxy.upstream.transport import OpenStream, Reply, Request, origin

_CONNECT_SECONDS: Final = 10.0
_INSPECT_SECONDS: Final = 3.0
# Limits: one stream per environment; calls are bounded by the pool.
_CALL_LIMITS: Final = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30.0)
_STREAM_LIMITS: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
# Raised only after the request may have been sent.
_AFTER_SENDING: Final = (
    httpx2.ReadTimeout,
    httpx2.ReadError,
    httpx2.WriteTimeout,
    httpx2.WriteError,
    httpx2.RemoteProtocolError,
)


Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Called for every step of the HTTP client, with its name and details."""


def server_tls(event: str, facts: Mapping[str, Any], request: Request) -> ssl.SSLObject | None:
    """The TLS connection to the server, if this step made it; one to an outbound proxy does not count."""
    if not event.endswith("start_tls.complete"):
        return None
    tls: ssl.SSLObject = facts["return_value"].get_extra_info("ssl_object")
    return tls if tls.server_hostname == urlsplit(request.url).hostname else None


def read_certificate(der: bytes | None) -> Certificate | None:
    """A server's certificate; ``None`` if there is none or it is unreadable."""
    try:
        return None if der is None else read_der(der)
    except ValueError:
        return None


def translate_errors(
    request: Request, proxy: str = "", certificate: Callable[[], str] = str
) -> AbstractContextManager[None]:
    """Translate any exception of the HTTP client, TLS or the event loop into ``UpstreamError``.

    ``proxy`` is the outbound proxy; ``certificate`` describes a refused certificate.
    """
    return border(lambda error: _to_upstream_error(request, error, proxy, certificate()))


def _to_upstream_error(request: Request, error: Exception, proxy: str, certificate: str) -> UpstreamError:
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        through = f" through the outbound proxy {proxy}" if proxy else ""
        return UpstreamUnavailable(f"{request}: no answer in time{through} ({type(error).__name__})")
    if isinstance(error, httpx2.DecodingError):
        return UpstreamMalformed(f"{request}: the body's compression is broken")
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return UpstreamUnavailable(f"{request}: not a valid URL; check the option")
    if isinstance(error, httpx2.HTTPError | httpx2.StreamError | OSError):
        return UpstreamUnavailable(f"{request}: {reason(error, proxy, certificate)}")
    if isinstance(error, ValueError):
        return UpstreamMalformed(f"{request}: cannot be sent ({type(error).__name__})")
    # A bug in the client: its text may contain credentials.
    return UpstreamUnavailable(f"{request}: the HTTP client failed ({type(error).__name__})")


class HttpTransport:
    """The real transport, an async context manager.

    Args:
        agent: the ``User-Agent``.
        trust: the trusted certificates.
        proxies: the outbound proxies.
        backend: replaces sockets in tests.

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
        # By origin: the description of a refused certificate, until one is accepted.
        self._refused: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        # Not in the constructor, because it may fail.
        try:
            self._calls = await self._stack.enter_async_context(self._client(self._trust, _CALL_LIMITS))
            self._streams = await self._stack.enter_async_context(self._client(self._trust, _STREAM_LIMITS))
        except (ValueError, ImportError, httpx2.InvalidURL) as error:
            # The text may quote the address with a password.
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
        sent = _Sent(request.method)
        try:
            return await self._exchange(self._calls, request, sent.note)
        except UpstreamError as error:
            error.perhaps_done = sent.started or isinstance(error.__cause__, _AFTER_SENDING)
            raise

    @asynccontextmanager
    async def open(self, request: Request, idle: float) -> AsyncIterator[OpenStream]:
        """See ``Transport``."""
        timeout = httpx2.Timeout(idle, connect=_CONNECT_SECONDS)
        with self._translate_request_errors(request):
            async with asyncio.timeout(request.deadline):
                response = await self._answer(self._streams, request, timeout)
        try:
            yield _Stream(response, request)
        finally:
            with translate_errors(request):
                await response.aclose()

    async def traced(self, request: Request, trace: Trace) -> Reply:
        """As ``send``, on a new connection, with ``trace`` called for every step of the HTTP client."""
        with self._translate_request_errors(request):
            async with self._client(self._trust, _CALL_LIMITS) as client:
                return await self._exchange(client, request, trace)

    async def _exchange(self, client: httpx2.AsyncClient, request: Request, trace: Trace) -> Reply:
        timeout = httpx2.Timeout(request.deadline, connect=_CONNECT_SECONDS)
        with self._translate_request_errors(request):
            async with asyncio.timeout(request.total or request.deadline):
                async with asyncio.timeout(request.deadline):
                    response = await self._answer(client, request, timeout, trace)
                try:
                    return await _read(response, request)
                finally:
                    await response.aclose()

    async def _answer(
        self,
        client: httpx2.AsyncClient,
        request: Request,
        timeouts: httpx2.Timeout,
        trace: Trace | None = None,
    ) -> httpx2.Response:
        foreign = _translate(client, request, timeouts)
        if trace is not None:
            foreign.extensions["trace"] = trace
        try:
            response = await client.send(foreign, stream=True)
        except httpx2.HTTPError as error:
            if untrusted(error) is not None:
                await self._inspect_certificate(request)
            raise
        self._refused.pop(origin(request.url), None)
        return response

    def _translate_request_errors(self, request: Request) -> AbstractContextManager[None]:
        proxy = self._proxies.proxy_of(request.url)
        origin_key = origin(request.url)
        return translate_errors(
            request, origin(proxy) if proxy else "", lambda: self._refused.get(origin_key, "")
        )

    async def _inspect_certificate(self, request: Request) -> None:
        """Record the issuer of a rejected certificate, which the library does not report.

        Connects once more without verification; sends only a ``HEAD``, without credentials.
        """
        origin_key = origin(request.url)
        if origin_key in self._refused or self._backend is not None:
            return
        self._refused[origin_key] = ""
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        certificates: list[bytes | None] = []

        async def trace(event: str, facts: Mapping[str, Any]) -> None:
            if (tls := server_tls(event, facts, request)) is not None:
                certificates.append(tls.getpeercert(binary_form=True))

        # Ignore failures here: the original failure of the request is reported.
        with suppress(Exception):
            async with asyncio.timeout(_INSPECT_SECONDS), self._client(unverified, _CALL_LIMITS) as client:
                await client.request("HEAD", f"{origin_key}/", extensions={"trace": trace})
        shown = read_certificate(certificates[-1]) if certificates else None
        if shown is not None:
            self._refused[origin_key] = f"it is for {shown.subject}, signed by {shown.issuer}"

    def _client(self, trust: ssl.SSLContext, limits: httpx2.Limits) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            headers={"User-Agent": self._agent},
            # Never keep cookies: Harness's load balancers would pin us.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            transport=self._backend or _ProxyRouting(self._proxies, trust, self._trust, limits),
            trust_env=False,
        )


class _ProxyRouting(httpx2.AsyncBaseTransport):
    """Connects directly or through the outbound proxy for the URL.

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
        self._transports = {
            address: httpx2.AsyncHTTPTransport(
                verify=trust,
                limits=limits,
                proxy=_proxy(address, proxy_trust) if address else None,
                trust_env=False,
            )
            for address in {"", proxies.http, proxies.https}
        }

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        transport = self._transports[self._proxies.proxy_of(str(request.url))]
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()


def _proxy(address: str, trust: ssl.SSLContext) -> httpx2.Proxy:
    return httpx2.Proxy(address, ssl_context=trust if address.lower().startswith("https:") else None)


class _Sent:
    """Whether a request was sent, even in part."""

    def __init__(self, method: str) -> None:
        self._method = method.encode()
        self.started = False

    async def note(self, event: str, facts: Mapping[str, Any]) -> None:
        """The HTTP client's trace events; a CONNECT to a proxy is another request."""
        if event.endswith("send_request_headers.started"):
            self.started = self.started or facts["request"].method == self._method


class _Stream:
    def __init__(self, response: httpx2.Response, request: Request) -> None:
        self._response = response
        self._request = request
        self.status = response.status_code
        self.headers = _lower_headers(response)

    async def chunks(self) -> AsyncIterator[bytes]:
        with translate_errors(self._request):
            async for chunk in self._response.aiter_bytes():
                yield chunk


def _translate(client: httpx2.AsyncClient, request: Request, timeout: httpx2.Timeout) -> httpx2.Request:
    return client.build_request(
        request.method,
        request.url,
        params=request.query or None,
        headers=dict(request.headers),
        content=request.body,
        timeout=timeout,
    )


def _lower_headers(response: httpx2.Response) -> Mapping[str, str]:
    return {name.lower(): text for name, text in response.headers.items()}


async def _read(response: httpx2.Response, request: Request) -> Reply:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > request.limit:
            raise UpstreamMalformed(f"{request}: the body is larger than {request.limit} bytes")
    return Reply(response.status_code, _lower_headers(response), bytes(body))
