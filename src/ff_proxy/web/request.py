"""A request's head, whichever way it came in."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, final


@final
class RequestHead:
    """What answers depend on.

    Attributes:
        method: such as ``GET``.
        path: the target's path as it was sent: percent signs, slashes and all.
        query: what followed the ``?``.
        fields: header fields by lower-case name; repeated ones are joined by commas.
    """

    __slots__ = ("fields", "method", "path", "query")

    def __init__(self, method: str, path: bytes, query: bytes, fields: Mapping[bytes, bytes]) -> None:
        self.method: Final = method
        self.path: Final = path
        self.query: Final = query
        self.fields: Final = fields


def join_fields(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Fields as they came (names in lower case) → by name, as RFC 9110 §5.2 lets them be joined."""
    fields: dict[bytes, bytes] = {}
    for name, value in pairs:
        held = fields.get(name)
        fields[name] = value if held is None else held + b", " + value
    return fields


def scope_head(scope: Mapping[str, Any]) -> RequestHead:
    """The head of an ASGI request."""
    # llhttp leaves blanks that follow a value to the reader.
    pairs = ((name, value.strip(b" \t")) for name, value in scope["headers"])
    return RequestHead(scope["method"], scope["raw_path"], scope["query_string"], join_fields(pairs))
