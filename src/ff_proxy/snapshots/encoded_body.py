"""Response bodies that are made once per revision and sent many times."""

import hashlib
import zlib
from collections.abc import Iterable
from functools import cached_property
from typing import ClassVar, Final, Self

_LEAST_COMPRESSED: Final = 1024
_GZIP: Final = 31  # zlib's window bits for a gzip wrapper


class EncodedBody:
    """JSON bytes with their ETag and, when first asked for, their gzip form.

    The ETag is a hash of the content, so it is equal on every member of a fleet
    (spec/behaviour#paths-and-caching). ``effort`` is zlib's level: how hard to try to make the gzip form
    small.
    """

    effort: ClassVar = 6

    def __init__(self, content: bytes) -> None:
        self.content: Final = content

    @classmethod
    def array(cls, items: Iterable[bytes]) -> Self:
        """A JSON array of items that are JSON already."""
        return cls(b"[" + b",".join(items) + b"]")

    @cached_property
    def etag(self) -> bytes:
        """The strong entity tag, quotes included."""
        return b'"' + hashlib.sha256(self.content).hexdigest()[:32].encode() + b'"'

    @cached_property
    def gzip(self) -> bytes | None:
        """The content compressed, or ``None`` where that would not make it smaller."""
        if len(self.content) < _LEAST_COMPRESSED:
            return None
        packed = zlib.compress(self.content, self.effort, _GZIP)
        return packed if len(packed) < len(self.content) else None
