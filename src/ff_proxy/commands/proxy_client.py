"""A client that sends the requests of SDKs to a running proxy."""

import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

from ff_proxy import __version__
from ff_proxy.errors import UpstreamMalformed, UpstreamRefused
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import SdkKey, Secret
from ff_proxy.model.target import Target
from ff_proxy.tls.trust import client_trust
from ff_proxy.upstream.http import HttpTransport
from ff_proxy.upstream.outbound_proxy import outbound_proxies
from ff_proxy.upstream.transport import MEBIBYTE, OpenStream, Reply, Request, Transport
from ff_proxy.wire.saas_auth import auth_body, read_auth_token, read_claims

_SECONDS: Final = 15.0
_LIMIT: Final = 256 * MEBIBYTE
_OK: Final = 200
_REFUSED: Final = frozenset({401, 403})
_AGENT: Final = f"ff-proxy/{__version__}"


@asynccontextmanager
async def open_transport() -> AsyncIterator[HttpTransport]:
    """A transport with the environment's outbound proxies and trusted certificates.

    Raises ``StartupError`` if these are unusable.
    """
    proxies, _ = outbound_proxies(os.environ)
    async with HttpTransport(_AGENT, client_trust(os.environ).context, proxies) as transport:
        yield transport


class ProxyClient:
    """Requests to the proxy at ``url``. Any status is returned; no answer raises ``UpstreamError``."""

    def __init__(self, transport: Transport, url: str) -> None:
        self._transport = transport
        self.url: Final = url.rstrip("/")

    async def get(
        self, path: str, headers: Mapping[str, str] | None = None, query: Mapping[str, str] | None = None
    ) -> Reply:
        """GET ``path``, which must be percent-encoded."""
        return await self._transport.send(self._request("GET", path, headers or {}, query=query or {}))

    async def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """POST a body of JSON."""
        json_headers = {"Content-Type": "application/json", **(headers or {})}
        return await self._transport.send(self._request("POST", path, json_headers, body=body))

    @asynccontextmanager
    async def stream(self, headers: Mapping[str, str], idle: float) -> AsyncIterator[OpenStream]:
        """GET /stream; it ends after ``idle`` seconds of silence."""
        async with self._transport.open(self._request("GET", "/stream", headers), idle) as answer:
            yield answer

    async def authenticate(self, key: SdkKey) -> tuple[Secret, EnvironmentInfo]:
        """A token for ``key``, and the environment in it; this stores no target.

        Raises ``UpstreamRefused`` if the proxy refuses the key.
        """
        reply = await self.post("/client/auth", auth_body(key))
        if reply.status in _REFUSED:
            raise UpstreamRefused(
                f"{self.url} does not know key {key.masked}: is its environment served there?",
                status=reply.status,
            )
        token = read_auth_token(reply.body) if reply.status == _OK else None
        info = None if token is None else read_claims(token)
        if token is None or info is None:
            raise UpstreamMalformed(
                f"{self.url}/client/auth answered {reply.status} and no token: is a proxy there?"
            )
        return token, info

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Request:
        return Request(
            method,
            f"{self.url}{path}",
            path,
            headers=headers,
            body=body,
            query=query or {},
            limit=_LIMIT,
            deadline=_SECONDS,
        )


def bearer(token: Secret) -> dict[str, str]:
    """The request header with a token."""
    return {"Authorization": f"Bearer {token.reveal()}"}


def target_header(target: Target) -> dict[str, str]:
    """The request header that describes a target."""
    described = {
        "identifier": target.identifier,
        "name": target.name or target.identifier,
        "anonymous": target.anonymous,
        "attributes": dict(target.attributes),
    }
    return {"Harness-Target": base64.b64encode(json.dumps(described).encode()).decode()}


def segment(text: str) -> str:
    """``text`` encoded as one segment of a path."""
    quoted = quote(text, safe="", errors="replace")
    return quoted.replace(".", "%2E") if text in {".", ".."} else quoted
