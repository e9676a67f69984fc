"""CORS: the header fields on responses, and the answer to preflight requests (spec/sdk-wire#cors)."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from ff_proxy.http.response import Fields, Response

_METHODS: Final = b"GET, POST, OPTIONS"
_HEADERS: Final = (
    b"Authorization",
    b"API-Key",
    b"Cache-Control",
    b"Content-Type",
    b"Accept",
    b"Harness-AccountID",
    b"Harness-EnvironmentID",
    b"Harness-SDK-Info",
    b"Harness-Target",
    b"If-None-Match",
    b"User-Agent",
    b"X-Request-ID",
)
_LISTED: Final = frozenset(name.lower() for name in _HEADERS)
# A field name is a token (RFC 9110 §5.6.2).
_NAME: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_LABELS: Final = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_MOST_ECHOED: Final = 32
# Browsers send a preflight for each distinct evaluations URL; without caching that doubles the requests.
_MAX_AGE: Final = b"7200"


class Cors:
    """Which origins may read responses.

    Args:
        origins: ``*`` for all, otherwise as browsers send them: ``https://app.example.com``;
            ``https://*.example.com`` matches every host below ``example.com``.

    Attributes:
        constant: the fields are the same for every request.
    """

    def __init__(self, origins: Collection[str] = ("*",)) -> None:
        self.constant = "*" in origins
        written = [origin.rstrip("/").lower().encode() for origin in origins if origin != "*"]
        self._origins = frozenset(origin for origin in written if b"://*." not in origin)
        self._below = [
            (scheme + b"://", b"." + rest)
            for origin in written
            for scheme, wildcard, rest in [origin.partition(b"://*.")]
            if wildcard
        ]

    def fields(self, origin: bytes | None) -> Fields:
        """The CORS fields of a response to a request with that ``Origin``."""
        if self.constant:
            return ((b"Access-Control-Allow-Origin", b"*"),)
        vary = (b"Vary", b"Origin")
        if origin is None or not self._allows(origin.lower()):
            return (vary,)
        return ((b"Access-Control-Allow-Origin", origin), vary)

    def _allows(self, origin: bytes) -> bool:
        return origin in self._origins or any(
            origin.startswith(scheme)
            and origin.endswith(rest)
            and _LABELS.fullmatch(origin[len(scheme) : -len(rest)])
            for scheme, rest in self._below
        )

    def preflight(self, fields: Mapping[bytes, bytes]) -> Response:
        """The answer to ``OPTIONS`` on any route, without a token.

        Allows the header fields that SDKs send, and valid other ones that the request asks for.
        """
        asked = fields.get(b"access-control-request-headers", b"").split(b",")
        others = [
            name for name in map(bytes.strip, asked) if _NAME.fullmatch(name) and name.lower() not in _LISTED
        ][:_MOST_ECHOED]
        return Response(
            204,
            (
                (b"Access-Control-Allow-Methods", _METHODS),
                (b"Access-Control-Allow-Headers", b", ".join((*_HEADERS, *others))),
                (b"Access-Control-Max-Age", _MAX_AGE),
                (b"Allow", _METHODS),
                (b"Vary", b"Access-Control-Request-Headers"),
            ),
        )
