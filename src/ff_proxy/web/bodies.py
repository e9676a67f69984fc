"""Request bodies: read up to a limit, whatever is declared and however it comes."""

from collections.abc import AsyncIterator
from typing import Final, final

from starlette.requests import ClientDisconnect, Request

from ff_proxy.errors import RequestError

_ROOMS: Final = 4


class TooLarge(RequestError):  # noqa: N818  (reads as what it says of the body)
    """The body is longer than the limit, or there is no room for it now; nothing of it is kept."""

    def __init__(self) -> None:
        super().__init__(413, "the request body is too large")


@final
class Bodies:
    """Reads bodies of at most ``limit`` bytes, four times as much at any one moment over all requests."""

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._held = 0

    def fits(self, length: int) -> bool:
        """Whether a body of that length may be read."""
        return length <= self._limit

    async def read(self, request: Request, limit: int | None = None) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it is longer than ``limit`` (by default the general one); the rest is not waited for.
            RequestError: 400, the client went away before its end.
        """
        most = self._limit if limit is None else min(limit, self._limit)
        if _declared(request) > most:
            raise TooLarge
        body = bytearray()
        try:
            async for chunk in request.stream():
                self._held += len(chunk)
                body += chunk
                if len(body) > most or self._held > _ROOMS * self._limit:
                    raise TooLarge
        except ClientDisconnect as gone:
            raise RequestError(400, "the request body ended early") from gone
        finally:
            self._held -= len(body)
        return bytes(body)

    async def pieces(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it arrives; raises as ``read`` does."""
        if _declared(request) > self._limit:
            raise TooLarge
        received = 0
        try:
            async for chunk in request.stream():
                received += len(chunk)
                if received > self._limit:
                    raise TooLarge
                yield chunk
        except ClientDisconnect as gone:
            raise RequestError(400, "the request body ended early") from gone

    @staticmethod
    async def read_off(request: Request) -> None:
        """Wait for the rest of a body, and forget it."""
        try:
            while (await request.receive()).get("more_body", False):
                pass
        except ClientDisconnect:
            return


def _declared(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
