"""A whole response, made once and sent by either way."""

from functools import cache
from http import HTTPStatus
from typing import Final, final

from ff_proxy.web.sealed import Large

Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields in the order they are sent; names in lower case."""

JSON: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")
_LARGE: Final = 16 * 1024


@final
class Reply:
    """Status, fields and body. ``date`` and the common fields are added by whoever sends it.

    Attributes:
        apart: the body is so large that copying it costs more than writing it by itself.
        large: the body with the quicker way to send it; the vault's to set.
    """

    __slots__ = (
        "_date",
        "_start",
        "_tail",
        "_wire",
        "apart",
        "body",
        "fields",
        "large",
        "status",
    )

    def __init__(self, status: int, fields: Fields, body: bytes = b"") -> None:
        self.status: Final = status
        self.fields: Final = fields
        self.body: Final = body
        self.apart: Final = len(body) > _LARGE
        self.large: Large | None = None
        self._start: tuple[bytes, bytes] | None = None
        self._date = b""
        self._tail = b""
        self._wire = b""

    def wire(self, date: bytes, tail: bytes) -> bytes:
        """Everything up to the body, and a body that is not ``apart`` with it, as bytes to be written.

        ``tail`` is the common fields' lines with the empty line. The last result is kept for callers that
        come with the very same ``date`` and ``tail`` objects.
        """
        if self._date is not date or self._tail is not tail:
            self._wire = self.once(date, tail)
            self._date, self._tail = date, tail
        return self._wire

    def once(self, date: bytes, tail: bytes) -> bytes:
        """The same for a ``tail`` that nobody will come with again: it is not kept."""
        if self._start is None:
            self._start = _status_line(self.status), field_lines(self.fields)
        line, fields = self._start
        return b"%bdate: %b\r\n%b%b%b" % (line, date, fields, tail, b"" if self.apart else self.body)


@cache
def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())


def field_lines(fields: Fields) -> bytes:
    """Fields as header lines, each with its line end."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def json_reply(status: int, body: bytes, *fields: tuple[bytes, bytes]) -> Reply:
    """JSON that nobody may keep."""
    return Reply(status, (JSON, (b"content-length", b"%d" % len(body)), NO_STORE, *fields), body)


def empty_reply(status: int, *fields: tuple[bytes, bytes]) -> Reply:
    """A response without a body, and saying so."""
    return Reply(status, ((b"content-length", b"0"), NO_STORE, *fields))
