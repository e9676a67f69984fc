"""Parses requests with llhttp (httptools): heads, bodies, and errors for invalid input."""

import re
from collections.abc import Iterable
from typing import Final, NoReturn, final

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from ff_proxy.errors import RequestError
from ff_proxy.http.body_reader import ArrivingBody

_VERSIONS: Final = frozenset({"1.0", "1.1"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
BLANKS: Final = b" \t"
"""White space around a field value."""

_DIGITS: Final = 18
_TOO_LARGE: Final = "the request's header fields are too large"


class Head(msgspec.Struct, eq=False):
    """A request line and its fields.

    Attributes:
        method: such as ``GET``.
        target: as sent, but with bytes beyond ASCII percent-encoded.
        fields: by lower-case name; repeated ones are joined by ``, ``.
        body: ``None`` if the request has none.
        http_1_0: the request is HTTP/1.0.
        close: the connection must close after the response.
    """

    method: str
    target: bytes
    fields: dict[bytes, bytes]
    body: ArrivingBody | None = None
    http_1_0: bool = False
    close: bool = False

    @property
    def whole(self) -> bool:
        """Whether the whole request has arrived."""
        return self.body is None or self.body.ended


def _joined(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Fields with repeated ones joined (RFC 9110 §5.2)."""
    fields: dict[bytes, bytes] = {}
    for name, value in pairs:
        held = fields.get(name.lower())
        stripped = value.strip(BLANKS)
        fields[name.lower()] = stripped if held is None else held + b", " + stripped
    return fields


@final
class RequestParser:
    """llhttp with our limits on heads and trailers.

    Args:
        most_fields: most fields in a head or in trailers.
        most_bytes: most bytes in a head or in trailers.

    Attributes:
        heads: parsed heads, oldest first; the caller removes them.
        current: the request whose body is arriving.
        between: the parser is between two requests.
        last: the client asked to close the connection; further bytes are ignored.
        refusal: the error that ended parsing, if any.
    """

    __slots__ = (
        "_fields",
        "_head_bytes",
        "_line_open",
        "_most_bytes",
        "_most_fields",
        "_parser",
        "_target",
        "between",
        "current",
        "heads",
        "last",
        "refusal",
    )

    def __init__(self, most_fields: int, most_bytes: int) -> None:
        self._most_fields: Final = most_fields
        self._most_bytes: Final = most_bytes
        self._parser = HttpRequestParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._target = b""
        self._head_bytes = 0
        self._line_open = False
        self.refusal: RequestError | None = None
        self.heads: Final[list[Head]] = []
        self.current: Head | None = None
        self.between = True
        self.last = False

    def feed(self, data: bytes) -> None:
        """Parse more bytes; raises ``RequestError`` 400 or 431, after which the parser is unusable."""
        if self.last:
            return
        data = self._ascii_line(data)
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except HttpParserError as error:
            if not self.last:
                raise self._refused() from error
        if self._head_bytes > self._most_bytes and not self.between:
            self.refusal = RequestError(431, _TOO_LARGE)
            raise self._refused()

    def _ascii_line(self, data: bytes) -> bytes:
        """The data with an ASCII request line at its start.

        llhttp refuses other bytes in a target. Go and nginx do not, and curl sends names as they are written.
        """
        if self.between:
            start = len(data) - len(data.lstrip(b"\r\n"))
        elif self._line_open:
            start = 0
        else:
            return data
        end = data.find(b"\n", start)
        self._line_open = end < 0
        line = data if end < 0 else data[:end]
        if line.isascii():
            return data
        return _NOT_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], line) + data[len(line) :]

    @property
    def pending(self) -> int:
        """Bytes of an incomplete head or trailer."""
        return 0 if self.between else self._head_bytes

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Ignore an ``Upgrade`` (RFC 9110 §7.8); llhttp would treat the body as the other protocol.

        A new parser gets the fields that say where the request ends, then the rest.
        """
        head = self.current
        self._parser = HttpRequestParser(self if head is None else _BodyCallbacks(self))
        if head is not None:
            framing = b"".join(
                b"%b: %b\r\n" % (name, head.fields[name]) for name in _FRAMING & head.fields.keys()
            )
            try:
                self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
            except HttpParserError as error:
                raise self._refused() from error
        if rest:
            self._head_bytes = 0
            self.feed(rest)

    def _refused(self) -> RequestError:
        # Do not answer an incomplete request: its framing is in doubt.
        if self.current is not None and self.current in self.heads:
            self.heads.remove(self.current)
        if self.refusal is None:
            self.refusal = RequestError(400, "the request is not valid HTTP")
        return self.refusal

    def _refuse(self, status: int, message: str) -> NoReturn:
        self.refusal = RequestError(status, message)
        raise self.refusal

    # --- llhttp's callbacks

    def on_message_begin(self) -> None:
        """A request line begins."""
        self.between = False
        self._target = b""
        self._fields = []

    def on_url(self, data: bytes) -> None:
        """A piece of the target."""
        self._target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, or a trailer; trailers are dropped."""
        self._fields.append((name, value))
        if len(self._fields) > self._most_fields:
            self._refuse(431, "the request has too many header fields")

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self._head_bytes > self._most_bytes:
            self._refuse(431, _TOO_LARGE)
        parser = self._parser
        method = parser.get_method().decode()
        # llhttp does not strip white space after a value.
        fields = {name.lower(): value.strip(BLANKS) for name, value in self._fields}
        if len(fields) != len(self._fields):
            fields = _joined(self._fields)
        # Without a Connection field, only HTTP/1.1 keeps the connection alive.
        close, old = False, False
        if b"connection" in fields or not parser.should_keep_alive():
            version = parser.get_http_version()
            old = version == "1.0"
            close = old or not parser.should_keep_alive()
            if version not in _VERSIONS:
                self._refuse(400, "this HTTP version is not supported")
        if method == "CONNECT" or not self._target.isascii():
            self._refuse(400, "this method or target is not supported")
        head = Head(method, self._target, fields, self._body(fields), http_1_0=old, close=close)
        self._fields = []
        self._target = b""
        self._head_bytes = 0
        self.heads.append(head)
        self.current = None if head.body is None else head
        self.last = close and head.body is None

    def _body(self, fields: dict[bytes, bytes]) -> ArrivingBody | None:
        length = fields.get(b"content-length", b"0")
        if b"transfer-encoding" in fields:
            declared = None
        elif not length.isdigit() or len(length) > _DIGITS:
            self._refuse(400, "the Content-Length is invalid")
        else:
            declared = int(length)
            if declared == 0:
                return None
        expects = fields.get(b"expect", b"").lower() == b"100-continue"
        return ArrivingBody(declared, fields.get(b"content-encoding"), expects=expects)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._head_bytes = 0
        if self.current is not None and self.current.body is not None:
            self.current.body.feed(data)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self.current is not None:
            if self._parser.should_upgrade():
                return  # the body is still to be parsed: see _ignore_upgrade
            if self.current.body is not None:
                self.current.body.end()
            self.last = self.current.close
            self.current = None
        self.between = True
        self._head_bytes = 0


@final
class _BodyCallbacks:
    """llhttp's callbacks while a second parser reads the body of a request whose head is parsed already."""

    def __init__(self, owner: RequestParser) -> None:
        self._owner: Final = owner
        self.on_body: Final = owner.on_body
        self._begun = False

    def on_message_begin(self) -> None:
        """The head made up for this parser, or that of the next request."""
        if self._begun:
            self._owner.on_message_begin()
        self._begun = True

    def on_url(self, data: bytes) -> None:
        """See ``on_message_begin``."""
        if self._owner.current is None:
            self._owner.on_url(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See ``on_message_begin``."""
        if self._owner.current is None:
            self._owner.on_header(name, value)

    def on_headers_complete(self) -> None:
        """See ``on_message_begin``."""
        if self._owner.current is None:
            self._owner.on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is complete, or a later request is."""
        self._owner.on_message_complete()
