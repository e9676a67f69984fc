"""Response bodies, encoded once per revision and sent many times."""

import hashlib
import zlib
from collections.abc import Iterable
from functools import cached_property
from typing import ClassVar, Final, Self

_MIN_GZIP_BYTES: Final = 1024
_GZIP_WINDOW_BITS: Final = 31  # zlib's window bits for a gzip wrapper


class EncodedBody:
    """JSON bytes with their ETag and gzip form, both computed on first use.

    The ETag is a hash of the content, so it is equal on every member of a fleet
    (spec/behaviour#paths-and-caching). ``gzip_level`` is zlib's compression level.
    """

    gzip_level: ClassVar = 6

    def __init__(self, content: bytes) -> None:
        self.content: Final = content

    @classmethod
    def array(cls, items: Iterable[bytes]) -> Self:
        """Join encoded items into a JSON array."""
        return cls(b"[" + b",".join(items) + b"]")

    @cached_property
    def etag(self) -> bytes:
        """The strong entity tag, quotes included."""
        return b'"' + hashlib.sha256(self.content).hexdigest()[:32].encode() + b'"'

    @cached_property
    def gzip(self) -> bytes | None:
        """The compressed content, or ``None`` if compression does not make it smaller."""
        if len(self.content) < _MIN_GZIP_BYTES:
            return None
        compressed = zlib.compress(self.content, self.gzip_level, _GZIP_WINDOW_BITS)
        return compressed if len(compressed) < len(self.content) else None
