"""From what went wrong to what a client is told: one table, one form (PRODUCT §3)."""

from functools import lru_cache
from typing import Final

import msgspec
from starlette.exceptions import HTTPException

from ff_proxy.errors import RequestError, StoreUnavailable
from ff_proxy.web.reply import Fields, Reply, empty_reply, json_reply

BAD_GATEWAY: Final = 502
UNAVAILABLE: Final = 503
RETRY_SOON: Final = 2
"""Seconds: small, since SDKs that honour ``Retry-After`` wait that long with nothing to show."""

_UNAUTHORIZED: Final = 401
_encode: Final = msgspec.json.Encoder().encode


def problem(error: Exception) -> Reply:
    """The JSON reply for an error; what is not expected says nothing of its cause."""
    refusal = refused(error)
    return _told(refusal.status, refusal.message, _fields(refusal, error))


@lru_cache(maxsize=128)
def _told(status: int, text: str, fields: Fields) -> Reply:
    body = _encode({"code": str(status), "message": text, "error": text})
    return json_reply(status, body, *fields)


def stream_problem(error: Exception) -> Reply:
    """The same refusal for ``/stream``: with a body, the JavaScript SDK would take it for a stream."""
    refusal = refused(error)
    return empty_reply(refusal.status, *_fields(refusal, error))


def refused(error: Exception) -> RequestError:
    """Any error as the refusal that a client is told."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, HTTPException):
        return RequestError(error.status_code, error.detail)
    if isinstance(error, StoreUnavailable):
        return RequestError(UNAVAILABLE, "not available now, try again", retry_after=RETRY_SOON)
    return RequestError(500, "internal error")


def not_found(what: str) -> RequestError:
    """404; ``what`` does not repeat what the client sent."""
    return RequestError(404, f"{what} not found")


def _fields(refusal: RequestError, error: Exception) -> Fields:
    fields: Fields = ()
    if refusal.retry_after is not None:
        fields = ((b"retry-after", b"%d" % refusal.retry_after),)
    if refusal.status == _UNAUTHORIZED:
        fields += ((b"www-authenticate", b"Bearer"),)
    if isinstance(error, HTTPException) and error.headers:
        fields += tuple((name.lower().encode(), value.encode()) for name, value in error.headers.items())
    return fields
