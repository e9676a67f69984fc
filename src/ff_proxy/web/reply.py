"""A whole response, made once and sent by either way."""

from functools import cached_property
from http import HTTPStatus
from typing import Final, final

Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields in the order they are sent; names in lower case."""

JSON: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")


@final
class Reply:
    """Status, fields and body. ``date``, CORS and request id are added by whoever sends it."""

    def __init__(self, status: int, fields: Fields, body: bytes = b"") -> None:
        self.status: Final = status
        self.fields: Final = fields
        self.body: Final = body

    @cached_property
    def start(self) -> bytes:
        """The status line and the beginning of the ``date`` field."""
        return b"HTTP/1.1 %d %b\r\ndate: " % (self.status, _phrase(self.status))

    @cached_property
    def lines(self) -> bytes:
        """The fields as header lines."""
        return field_lines(self.fields)


def field_lines(fields: Fields) -> bytes:
    """Fields as header lines, each with its line end."""
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def json_reply(status: int, body: bytes, *fields: tuple[bytes, bytes]) -> Reply:
    """JSON that nobody may keep."""
    return Reply(status, (JSON, (b"content-length", b"%d" % len(body)), NO_STORE, *fields), body)


def empty_reply(status: int, *fields: tuple[bytes, bytes]) -> Reply:
    """A response without a body, and saying so."""
    return Reply(status, ((b"content-length", b"0"), NO_STORE, *fields))


def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()
