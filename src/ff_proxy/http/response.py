"""A complete response that can be sent many times, and the common kinds of it."""

from functools import cache
from http import HTTPStatus
from typing import Final, final

import msgspec

from ff_proxy.errors import RequestError, StoreUnavailable

Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields in sending order; names as Go writes them (``headers.canonical``)."""

JSON: Final = (b"Content-Type", b"application/json")
NO_STORE: Final = (b"Cache-Control", b"no-store")

EVENT_STREAM: Final[Fields] = (
    (b"Content-Type", b"text/event-stream"),
    (b"Cache-Control", b"no-cache, no-transform"),
    (b"X-Accel-Buffering", b"no"),
    (b"Transfer-Encoding", b"chunked"),
)

BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
BAD_GATEWAY: Final = 502
UNAVAILABLE: Final = 503
RETRY_SOON: Final = 2
"""Seconds: short, since SDKs that honour ``Retry-After`` serve defaults meanwhile."""

_LARGE: Final = 16 * 1024


@final
class Response:
    """Status, fields and body. The server adds ``Date``, ``Vary``, CORS, the request id and ``Connection``.

    Attributes:
        apart: the body is written separately, since copying it behind the head would cost more.
        shared: the body's bytes are kept elsewhere anyway, so they are not charged to a budget.
    """

    __slots__ = ("_date", "_start", "_tail", "_wire", "apart", "body", "fields", "shared", "status")

    def __init__(self, status: int, fields: Fields, body: bytes = b"", *, shared: bool = False) -> None:
        self.status: Final = status
        self.fields: Final = fields
        self.body: Final = body
        self.apart: Final = len(body) > _LARGE
        self.shared: Final = shared
        self._start: tuple[bytes, bytes] | None = None
        self._date = b""
        self._tail = b""
        self._wire = b""

    def wire(self, date: bytes, tail: bytes) -> bytes:
        """The bytes to write: the head, and the body unless it is ``apart``.

        ``tail`` holds the lines of the common fields and the empty line. The last result is reused for the
        same ``date`` and ``tail`` objects (compared by identity).
        """
        if self._date is not date or self._tail is not tail:
            self._wire = self.head(date, tail) + (b"" if self.apart else self.body)
            self._date, self._tail = date, tail
        return self._wire

    def head(self, date: bytes, tail: bytes) -> bytes:
        """The bytes of the head; the result is not kept."""
        if self._start is None:
            self._start = _status_line(self.status), field_lines(self.fields)
        line, fields = self._start
        return b"%bDate: %b\r\n%b%b" % (line, date, fields, tail)


@cache
def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())


def field_lines(fields: Fields) -> bytes:
    """Fields as header lines, each with its line end."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def with_request_id(tail: bytes, request_id: bytes) -> bytes:
    """Add the request id to ``tail``, the lines of the common fields and the empty line."""
    return b"%bX-Request-Id: %b\r\n\r\n" % (tail[:-2], request_id)


def json_response(status: int, body: bytes, *fields: tuple[bytes, bytes]) -> Response:
    """A JSON response that must not be cached."""
    return Response(status, (JSON, (b"Content-Length", b"%d" % len(body)), NO_STORE, *fields), body)


def empty_response(status: int, *fields: tuple[bytes, bytes]) -> Response:
    """A response without a body (``Content-Length: 0``)."""
    return Response(status, ((b"Content-Length", b"0"), NO_STORE, *fields))


def problem(refusal: RequestError, *fields: tuple[bytes, bytes]) -> Response:
    """The JSON response for an error (spec/behaviour#endpoints)."""
    text = refusal.message
    body = msgspec.json.encode({"code": str(refusal.status), "message": text, "error": text})
    return json_response(refusal.status, body, *_refusal_fields(refusal), *fields)


def empty_problem(refusal: RequestError, *fields: tuple[bytes, bytes]) -> Response:
    """The response for an error without a body, for clients that would misread one."""
    return empty_response(refusal.status, *_refusal_fields(refusal), *fields)


def refusal_for(error: Exception) -> RequestError:
    """The error to send to a client; an unexpected one becomes a 500 that hides its cause."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, StoreUnavailable):
        return RequestError(UNAVAILABLE, "not available now, try again", retry_after=RETRY_SOON)
    return RequestError(500, "internal error")


def _refusal_fields(refusal: RequestError) -> Fields:
    fields: Fields = ()
    if refusal.retry_after is not None:
        fields = ((b"Retry-After", b"%d" % refusal.retry_after),)
    if refusal.status == UNAUTHORIZED:
        fields += ((b"Www-Authenticate", b"Bearer"),)
    return fields
