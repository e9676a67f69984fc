"""What a handler is, and what it may answer with."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, final

from ff_proxy.http.request import Request
from ff_proxy.http.response import Fields, Response


@final
class Lease:
    """Whether the state that responses were made from is still current; shared by all of them."""

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current = True


@final
class Cacheable:
    """A response that may be given again to requests for the same target with equal declared fields.

    Args:
        response: the response.
        lease: it is good no longer than this is current.
        check: asked at every hit besides; ``None`` if nothing else could change the answer. Cheap.
    """

    __slots__ = ("check", "lease", "response")

    def __init__(self, response: Response, lease: Lease, check: Callable[[], bool] | None = None) -> None:
        self.response: Final = response
        self.lease: Final = lease
        self.check: Final = check


@final
class Handover:
    """A 200 whose connection belongs to somebody else from the head on, such as a stream.

    Args:
        fields: of the response; the server adds its own, and ``Connection: close``.
        label: what whoever counts requests is told of it, besides its route.
        take: called with the transport, the whole head to be written, and a function to be called once the
            connection is gone.
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


class Handler(Protocol):
    """Answers requests of a route.

    It answers at once where nothing has to be awaited, else with something that can be awaited, which the
    server cancels when the client goes away. It raises ``RequestError``; anything else becomes a 500.
    """

    def __call__(self, request: Request, /) -> Outcome | Awaitable[Outcome]:
        """The answer."""
        ...
