"""Decompresses request bodies, within limits."""

import zlib
from collections.abc import Iterator
from typing import Final, Protocol, final

from ff_proxy.errors import RequestError
from ff_proxy.http.body import BodyTooLarge

_PIECE: Final = 64 * 1024
_ANY_HEADER: Final = 32 + zlib.MAX_WBITS
"""Accept a gzip or a zlib header."""

_RATIO_ALLOWANCE: Final = 1024 * 1024
_MAX_RATIO: Final = 200
"""Repetitive usage data compresses about 100:1; a higher ratio than this is a decompression bomb."""


class Decoder(Protocol):
    """Undoes a ``Content-Encoding``, piece by piece."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most 64 KiB; raises ``RequestError`` 400 or 413."""
        ...

    def finish(self) -> None:
        """End of input; raises ``RequestError`` 400 if the compressed data is incomplete."""
        ...


@final
class Identity:
    """A body without compression."""

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
                raise RequestError(400, "the request body does not match its Content-Encoding") from error
            data = self._inflate.unconsumed_tail
            self._given += len(piece)
            if self._given > _RATIO_ALLOWANCE + _MAX_RATIO * self._taken:
                raise BodyTooLarge
            if piece:
                yield piece

    def finish(self) -> None:
        """See ``Decoder``."""
        if not self._inflate.eof:
            raise RequestError(400, "the compressed request body ended early")


def decoder(coding: bytes | None) -> Decoder:
    """The decoder for a ``Content-Encoding``; raises ``RequestError`` 415 if it is not supported."""
    names = [name for part in (coding or b"").lower().split(b",") if (name := part.strip())]
    if not names or names == [b"identity"]:
        return Identity()
    if names in ([b"gzip"], [b"x-gzip"], [b"deflate"]):
        return Inflated()
    raise RequestError(415, "this Content-Encoding is not supported: use gzip or none")
