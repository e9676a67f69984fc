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
    """A request's body, decoded from its ``Content-Encoding``; a handler reads it once, in one of these ways.

    Until the handler reads, the server reads only a few kilobytes ahead. A client that waits for
    ``100 Continue`` gets it when the handler starts to read.
    """

    @property
    def whole(self) -> bytes | None:
        """The whole body if it has already arrived and is within the route's limit, else ``None``."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, in pieces of at most 64 KiB; yields to the event loop between pieces.

        Raises ``BodyTooLarge`` as soon as the body exceeds the route's limit, and ``BodyIncomplete``.
        """
        ...

    async def read(self) -> bytes:
        """Return the whole body; raises ``BodyTooLarge`` (after ``discard``) and ``BodyIncomplete``."""
        ...

    async def discard(self) -> None:
        """Read and drop the rest, up to a generous bound, so that no TCP reset loses an early answer."""
        ...


@final
class WholeBody:
    """A body that is already in memory: for requests without a body, and for tests."""

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
