"""A request as handlers see it."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from ff_proxy.http.body import Body, WholeBody
from ff_proxy.http.headers import Headers


class Request(msgspec.Struct, frozen=True):
    """The parts of a request that a handler may use.

    Attributes:
        method: the route's method; for a ``HEAD`` it is ``GET``.
        path: the target's path as sent, not decoded.
        query: the part after the ``?``, as sent.
        headers: the fields that the route declares.
        params: the template's parameters, percent-decoded once; ``+`` and incomplete ``%`` escapes are kept.
        raw_params: the same parameters as sent.
        peer: the client's address, such as ``192.0.2.1``, as reported by trusted proxies if any; empty for a
            Unix socket, and for every ``GET``, whose answer must not depend on it.
        body: the body; empty for most requests.
    """

    method: str
    path: bytes
    query: bytes
    headers: Headers
    params: Mapping[str, str]
    raw_params: Mapping[str, bytes]
    peer: str = ""
    body: Body = msgspec.field(default_factory=WholeBody)

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, or ``None``."""
        if name.encode() not in self.query:
            return None
        # Given bytes, parse_qsl accepts only ASCII. The Go proxy v2 takes a semicolon for an ampersand.
        pairs = parse_qsl(self.query.replace(b";", b"&").decode("latin-1"), keep_blank_values=True)
        return next((value for held, value in pairs if held == name), None)
