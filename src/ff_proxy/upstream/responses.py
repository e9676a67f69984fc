"""Classifying every response of Harness: usable, refused, worth a retry, or malformed.

A 401, 403 or 404 is definite only if it can come from Harness itself: an error page of a gateway must not
make the proxy remove a flag or refuse a key (spec/behaviour#key-checks).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urljoin

from ff_proxy.errors import (
    MalformedJson,
    UpstreamError,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamUnavailable,
)
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.transport import DEFINITE, Reply, Request, Transport, origin
from ff_proxy.wire.values import decode_json

_NOT_FOUND: Final = 404
_TEMPORARY: Final = frozenset({408, 425, 429})
_SERVER_ERRORS: Final = range(500, 600)
_REDIRECTS: Final = range(300, 400)
_SUCCESSES: Final = range(200, 300)
_MAX_QUOTED_BYTES: Final = 512
_MAX_QUOTED_CHARACTERS: Final = 80
_ERROR_BODY_LIMIT: Final = 64 * 1024
_MAX_RETRY_AFTER: Final = 300.0


class Caller:
    """Sends requests, counts them, and returns only usable responses."""

    def __init__(self, transport: Transport, telemetry: Telemetry) -> None:
        self._transport = transport
        self._requests = telemetry.metrics.upstream_requests
        self._seconds = telemetry.metrics.upstream_seconds
        self._now = telemetry.now

    async def call(self, request: Request) -> Reply:
        """The 2xx response.

        Raises:
            UpstreamUnavailable: no response, 408, 425, 429 or 5xx.
            UpstreamRefused: a definite status for this request, from Harness itself.
            UpstreamMalformed: any other response.
        """
        began = self._now()
        try:
            reply = await self._transport.send(request)
        except UpstreamError as error:
            self._count(request, "error")
            _with_shared_cause(error, request)
            raise
        self._count(request, str(reply.status))
        self._seconds.labels(request.route, request.environment).observe(self._now() - began)
        if reply.status in _SUCCESSES:
            return reply
        raise _with_shared_cause(_unusable(request, reply.status, reply.headers, reply.body), request)

    @asynccontextmanager
    async def stream(self, request: Request, idle: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """The chunks of a 2xx ``text/event-stream`` response; raises like ``call``."""
        answered = False
        try:
            async with self._transport.open(request, idle) as answer:
                answered = True
                self._count(request, str(answer.status))
                if answer.status not in _SUCCESSES:
                    body = await _first_bytes(answer.chunks())
                    raise _unusable(request, answer.status, answer.headers, body)
                media = _media_type(answer.headers)
                if media != "text/event-stream":
                    raise UpstreamMalformed(f"{request}: answered {media or 'no media type'}, not a stream")
                yield answer.chunks()
        except UpstreamError as error:
            if not answered:
                self._count(request, "error")
            _with_shared_cause(error, request)
            raise

    def _count(self, request: Request, code: str) -> None:
        self._requests.labels(request.route, request.environment, code).inc()


def _with_shared_cause(error: UpstreamError, request: Request) -> UpstreamError:
    """``error`` with the cause that it shares with other requests to the same server."""
    if not error.shared_cause:
        error.shared_cause = str(error).replace(str(request), request.base, 1)
    return error


def read_json(request: Request, reply: Reply) -> object:
    """Parse the JSON body of a response.

    Raises:
        UpstreamMalformed: it is not JSON, for example a login page or a truncated body.
    """
    try:
        # Bad text in one flag must not make the whole list unreadable.
        return decode_json(reply.body, max_lenient_bytes=len(reply.body))
    except MalformedJson as error:
        raise UpstreamMalformed(f"{request}: {error}: {describe_body(reply)}") from error


def read_list(request: Request, reply: Reply) -> list[object]:
    """Parse a JSON list; ``UpstreamMalformed`` if it is anything else."""
    items = read_json(request, reply)
    if not isinstance(items, list):
        raise UpstreamMalformed(f"{request}: the response is not a list")
    return items


def refuse_page(request: Request, reply: Reply) -> None:
    """Raise ``UpstreamMalformed`` if the response is an HTML page, which the API never returns."""
    if "html" in _media_type(reply.headers):
        raise UpstreamMalformed(
            f"{request}: answered {reply.status} with a page that is not from the API; "
            "is there a gateway in between? "
            f"{describe_body(reply)}"
        )


def describe_body(reply: Reply) -> str:
    """Describe an unexpected response: its type and its first characters.

    JSON is not quoted, because it may contain a token.
    """
    media = _media_type(reply.headers) or "no content type"
    text = " ".join(reply.body[:_MAX_QUOTED_BYTES].decode("utf-8", "replace").split())
    if not text:
        return f"{media}, empty"
    if text[0] in '{["':
        return f"{media}, {len(reply.body)} bytes"
    quoted = "".join(character if character.isprintable() else "?" for character in text)
    return f"{media}, begins with {quoted[:_MAX_QUOTED_CHARACTERS]!r}"


def _unusable(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    answered = f"{request}: answered {status}"
    if status in _TEMPORARY or status in _SERVER_ERRORS:
        problem = UpstreamUnavailable(answered, retry_after=_retry_after(headers))
        problem.perhaps_done = status in _SERVER_ERRORS
        return problem
    if status in _REDIRECTS:
        return UpstreamMalformed(
            f"{answered}, a redirect to {_redirect_target(request, headers.get('location', ''))}; "
            "if that is Harness, set the option to the address it redirects to"
        )
    if status not in request.definite:
        return UpstreamMalformed(answered)
    media = _media_type(headers)
    if status in DEFINITE and body and ("html" in media or (status == _NOT_FOUND and "json" not in media)):
        return UpstreamMalformed(
            f"{answered} with a page that is not from the API; is there a gateway in between? "
            f"{describe_body(Reply(status, headers, body))}"
        )
    return UpstreamRefused(answered, status=status)


def _redirect_target(request: Request, location: str) -> str:
    """The server that a ``Location`` names, which may be relative, or what is wrong with it."""
    if not location:
        return "nowhere"
    try:
        return origin(urljoin(request.url, location))
    except ValueError:
        return "an address that is not valid"


async def _first_bytes(chunks: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) >= _ERROR_BODY_LIMIT:
            break
    return body


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "").strip()
    return min(float(text), _MAX_RETRY_AFTER) if text.isascii() and text.isdigit() else None
