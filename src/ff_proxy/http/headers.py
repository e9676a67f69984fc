"""Header fields: the view that handlers get of a request's, and the spelling of names in responses."""

from collections.abc import Collection, Mapping
from typing import Final, Protocol, final


class UndeclaredHeaderError(LookupError):
    """A handler read a header field that its route does not declare: a bug."""

    def __init__(self, name: bytes) -> None:
        super().__init__(f"the route must declare the header field {name.decode('latin-1')!r}")


class Headers(Protocol):
    """A request's header fields, by lower-case name."""

    def get(self, name: bytes, /) -> bytes | None:
        """The field's value without surrounding white space, or ``None``; repeats are joined by ``, ``."""
        ...


@final
class DeclaredHeaders:
    """The header fields that a route declares: answers cannot depend on any others.

    Args:
        fields: all of the request's, by lower-case name.
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

    Some SDKs compare names case-sensitively (spec/sdk-wire#trap-46).
    """
    return b"-".join(part.capitalize() for part in name.split(b"-"))
