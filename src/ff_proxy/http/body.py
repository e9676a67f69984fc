"""A request's body as handlers see it."""

from collections.abc import AsyncIterator
from typing import Final, Protocol, final

from ff_proxy.errors import RequestError


class BodyTooLarge(RequestError):  # noqa: N818  (reads as what it says of the body)
    """413: the body is longer than its limit, or inflates beyond reason."""

    def __init__(self) -> None:
        super().__init__(413, "the request body is too large")


class BodyIncomplete(RequestError):  # noqa: N818  (as above)
    """400: the client went away, or broke the body's framing, before its end."""

    def __init__(self) -> None:
        super().__init__(400, "the request body ended early")


class Body(Protocol):
    """A request's body, decoded from its ``Content-Encoding``, read once and in one of these ways.

    While nobody reads, the client is not read from either, apart from a few kilobytes. A client that waits
    for ``100 Continue`` is told to go on when reading begins.
    """

    @property
    def whole(self) -> bytes | None:
        """All of it, if it has arrived already and is no longer than the route's limit."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """Piece by piece, each at most 64 KiB, as they arrive; the event loop turns between two pieces.

        Raises ``BodyTooLarge`` as soon as the route's limit is passed, and ``BodyIncomplete``.
        """
        ...

    async def read(self) -> bytes:
        """All of it; raises ``BodyTooLarge`` (after ``discard``) and ``BodyIncomplete``."""
        ...

    async def discard(self) -> None:
        """Read off what is left, within a generous bound, so that an early answer is not lost in a reset."""
        ...


@final
class WholeBody:
    """A body that is here already: of requests without one, and for tests."""

    __slots__ = ("whole",)

    def __init__(self, content: bytes = b"") -> None:
        self.whole: Final = content

    async def pieces(self) -> AsyncIterator[bytes]:
        """See ``Body``."""
        if self.whole:
            yield self.whole

    async def read(self) -> bytes:
        """See ``Body``."""
        return self.whole

    async def discard(self) -> None:
        """Nothing to do."""
