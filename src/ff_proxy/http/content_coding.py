"""Request bodies that come compressed, inflated within bounds."""

import zlib
from collections.abc import Iterator
from typing import Final, Protocol, final

from ff_proxy.errors import RequestError
from ff_proxy.http.body import BodyTooLarge

_PIECE: Final = 64 * 1024
_ANY_HEADER: Final = 32 + zlib.MAX_WBITS
"""A gzip or zlib header, whichever is there."""

_FREE: Final = 1024 * 1024
_MOST_TIMES: Final = 200
"""Usage that is written over and over shrinks to a hundredth; beyond this it is made to do harm."""


class Decoder(Protocol):
    """Takes a body's bytes as sent, and gives them as meant."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most 64 KiB; raises ``RequestError`` 400 or 413."""
        ...

    def finish(self) -> None:
        """Nothing more comes; raises ``RequestError`` 400 if that is too early."""
        ...


@final
class Identity:
    """A body that is sent as it is meant."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """See ``Decoder``."""
        del self
        yield data

    def finish(self) -> None:
        """See ``Decoder``."""


@final
class Inflated:
    """A body compressed by gzip or deflate."""

    def __init__(self) -> None:
        self._inflate: Final = zlib.decompressobj(_ANY_HEADER)
        self._taken = 0
        self._given = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """See ``Decoder``."""
        self._taken += len(data)
        while data and not self._inflate.eof:
            try:
                piece = self._inflate.decompress(data, _PIECE)
            except zlib.error as error:
                raise RequestError(400, "the request body is not what its Content-Encoding says") from error
            data = self._inflate.unconsumed_tail
            self._given += len(piece)
            if self._given > _FREE + _MOST_TIMES * self._taken:
                raise BodyTooLarge
            if piece:
                yield piece

    def finish(self) -> None:
        """See ``Decoder``."""
        if not self._inflate.eof:
            raise RequestError(400, "the compressed request body ended early")


def decoder(coding: bytes | None) -> Decoder:
    """For a ``Content-Encoding``; raises ``RequestError`` 415 for one that nobody here understands."""
    names = [name for part in (coding or b"").lower().split(b",") if (name := part.strip())]
    if not names or names == [b"identity"]:
        return Identity()
    if names in ([b"gzip"], [b"x-gzip"], [b"deflate"]):
        return Inflated()
    raise RequestError(415, "this Content-Encoding is not understood: send gzip or nothing")
