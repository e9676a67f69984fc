"""The handler interface, and the outcomes a handler may return."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, final

from ff_proxy.http.request import Request
from ff_proxy.http.response import Fields, Response


@final
class Lease:
    """Says whether the state behind cached responses is still current; all of these responses share it."""

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current = True


@final
class Cacheable:
    """A response that may be reused for requests with the same target and equal declared fields.

    Args:
        response: the response.
        lease: the response is valid only while this is current.
        check: called on every hit, so it must be cheap; ``None`` if the lease alone decides.
    """

    __slots__ = ("check", "lease", "response")

    def __init__(self, response: Response, lease: Lease, check: Callable[[], bool] | None = None) -> None:
        self.response: Final = response
        self.lease: Final = lease
        self.check: Final = check


@final
class Handover:
    """A 200 after whose head the connection belongs to other code, such as a stream.

    Args:
        fields: header fields; the server adds the common ones and ``Connection: close``.
        label: distinguishes it in request metrics, besides its route.
        take: called with the transport, the complete head to write, and a function to call once the
            connection is closed.
    """

    __slots__ = ("fields", "label", "take")

    def __init__(
        self,
        fields: Fields,
        label: str,
        take: Callable[[asyncio.Transport, bytes, Callable[[], None]], None],
    ) -> None:
        self.fields: Final = fields
        self.label: Final = label
        self.take: Final = take


Outcome = Response | Cacheable | Handover


Handler = Callable[[Request], Outcome | Awaitable[Outcome]]
"""Answers the requests of a route.

It returns the outcome, or an awaitable if it has to wait; the server cancels that if the client disconnects.
It raises ``RequestError``; any other exception becomes a 500.
"""
