"""Header fields: as handlers see those of a request, and as names are written in a response."""

from collections.abc import Collection, Mapping
from typing import Final, Protocol, final


class UndeclaredHeaderError(LookupError):
    """A handler read a header field that its route does not declare: a mistake in our code."""

    def __init__(self, name: bytes) -> None:
        super().__init__(f"the route must declare the header field {name.decode('latin-1')!r}")


class Headers(Protocol):
    """A request's header fields, by lower-case name."""

    def get(self, name: bytes, /) -> bytes | None:
        """The field's value, without surrounding white space; repeated fields are joined by ``, ``."""
        ...


@final
class DeclaredHeaders:
    """The header fields that a route declares: no answer can depend on another one.

    Args:
        fields: everything that came, by lower-case name.
        declared: the lower-case names that may be read.
    """

    __slots__ = ("_declared", "_fields")

    def __init__(self, fields: Mapping[bytes, bytes], declared: Collection[bytes]) -> None:
        self._fields: Final = fields
        self._declared: Final = declared

    def get(self, name: bytes, /) -> bytes | None:
        """See ``Headers``; raises ``UndeclaredHeaderError``."""
        if name not in self._declared:
            raise UndeclaredHeaderError(name)
        return self._fields.get(name)


def canonical(name: bytes) -> bytes:
    """A field name as Go writes it: ``content-type`` becomes ``Content-Type``.

    Some SDKs compare the bytes of names (spec/sdk-wire#trap-46).
    """
    return b"-".join(part.capitalize() for part in name.split(b"-"))
