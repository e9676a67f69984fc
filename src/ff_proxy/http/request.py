"""A request as handlers see it."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from ff_proxy.http.body import Body, WholeBody
from ff_proxy.http.headers import Headers


class Request(msgspec.Struct, frozen=True):
    """What a handler may know of a request.

    Attributes:
        method: the route's; a ``HEAD`` looks like the ``GET`` whose head it asks for.
        path: the target's path as it was sent: percent signs, slashes and all.
        query: what followed the ``?``, as it was sent.
        headers: the fields that the route declares.
        params: what the route's template names, percent-decoded once; ``%`` that begins no escape and ``+``
            stand for themselves.
        raw_params: the same as it was sent.
        peer: the client's address, such as ``192.0.2.1``, or what trusted proxies say of it; empty for a Unix
            socket, and for every ``GET``: its answer must not depend on it.
        body: empty for most.
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
        """The first value that the query has for a parameter, or ``None``."""
        if name.encode() not in self.query:
            return None
        # Of bytes, the parser takes ASCII alone.
        pairs = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True)
        return next((value for held, value in pairs if held == name), None)
