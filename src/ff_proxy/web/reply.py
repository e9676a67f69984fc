"""A whole response, made once and sent by either way."""

from functools import cached_property
from http import HTTPStatus
from typing import Final, final

from ff_proxy.web.sealed import Sealed

Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields in the order they are sent; names in lower case."""

JSON: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")
_LARGE: Final = 16 * 1024


@final
class Reply:
    """Status, fields and body. ``date`` and the common fields are added by whoever sends it.

    ``sealed`` is the vault's to set.
    """

    def __init__(self, status: int, fields: Fields, body: bytes = b"") -> None:
        self.status: Final = status
        self.fields: Final = fields
        self.body: Final = body
        self.sealed: Sealed | None = None
        self._joined = b""
        self._joined_with: tuple[bytes, bytes] = (b"", b"")

    @cached_property
    def _start(self) -> bytes:
        return b"HTTP/1.1 %d %b\r\ndate: " % (self.status, HTTPStatus(self.status).phrase.encode())

    @cached_property
    def _lines(self) -> bytes:
        return b"\r\n" + field_lines(self.fields)

    def wire(self, date: bytes, tail: bytes) -> bytes:
        """Everything up to the body, and a small body with it (see ``apart``), as bytes to be written.

        ``tail`` is the common fields' lines with the empty line. The last result is kept for callers that
        come with the very same ``date`` and ``tail`` objects.
        """
        held_date, held_tail = self._joined_with
        if held_date is not date or held_tail is not tail:
            body = b"" if self.apart else self.body
            self._joined = b"".join((self._start, date, self._lines, tail, body))
            self._joined_with = date, tail
        return self._joined

    @cached_property
    def apart(self) -> bool:
        """Whether the body is so large that copying it costs more than writing it by itself."""
        return len(self.body) > _LARGE


def field_lines(fields: Fields) -> bytes:
    """Fields as header lines, each with its line end."""
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def json_reply(status: int, body: bytes, *fields: tuple[bytes, bytes]) -> Reply:
    """JSON that nobody may keep."""
    return Reply(status, (JSON, (b"content-length", b"%d" % len(body)), NO_STORE, *fields), body)


def empty_reply(status: int, *fields: tuple[bytes, bytes]) -> Reply:
    """A response without a body, and saying so."""
    return Reply(status, ((b"content-length", b"0"), NO_STORE, *fields))
