"""Requests, responses, and the transport interface of the two APIs; ``http`` implements it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

MEBIBYTE: Final = 1024 * 1024
DEFINITE: Final = frozenset({401, 403, 404})


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``url`` is complete and percent-encoded, without the query.

    ``route`` is the path's template, which names the request in logs, errors and metrics. ``limit`` is the
    maximum size of the response body in bytes, ``deadline`` the seconds within which the response must
    arrive. With ``total``, it must begin within ``deadline``, continue without longer pauses, and end within
    ``total`` seconds. ``definite`` are the statuses that a retry will not change.
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
        """The base URL from the option, without secrets."""
        return f"{origin(self.url)}{urlsplit(self.url).path}".rsplit("/", self.route.count("/"))[0]

    def __str__(self) -> str:
        """Method and URL for messages, without query and credentials."""
        return f"{self.method} {origin(self.url)}{urlsplit(self.url).path}"


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class OpenStream(Protocol):
    """A response whose body has not been read yet."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; raises ``UpstreamUnavailable`` on a timeout or a broken connection."""
        ...


class Transport(Protocol):
    """Sends requests; raises only ``UpstreamUnavailable`` and ``UpstreamMalformed``."""

    async def send(self, request: Request) -> Reply:
        """The response to ``request``, whatever its status."""
        ...

    def open(self, request: Request, idle: float) -> AbstractAsyncContextManager[OpenStream]:
        """Open a stream: the head within the deadline, then the body; ``idle`` seconds of silence end it."""
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
