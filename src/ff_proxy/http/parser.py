"""What llhttp makes of a connection's bytes: heads, bodies, refusals."""

from collections.abc import Iterable
from typing import Final, NoReturn, final

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from ff_proxy.errors import RequestError
from ff_proxy.http.body_reader import ArrivingBody

_VERSIONS: Final = frozenset({"1.0", "1.1"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
BLANKS: Final = b" \t"
"""What may stand around a value."""

_DIGITS: Final = 18
_TOO_LARGE: Final = "the request's header fields are too large"


class Head(msgspec.Struct, eq=False):
    """A request line and its fields.

    Attributes:
        method: such as ``GET``.
        target: as it was sent.
        fields: by lower-case name; repeated ones are joined by ``, ``.
        body: ``None`` if none was announced.
        old: it is HTTP/1.0.
        close: the connection is to end with the response.
    """

    method: str
    target: bytes
    fields: dict[bytes, bytes]
    body: ArrivingBody | None = None
    old: bool = False
    close: bool = False

    @property
    def whole(self) -> bool:
        """Whether all of the request has come."""
        return self.body is None or self.body.ended


def _joined(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Fields of which some are repeated (RFC 9110 §5.2)."""
    fields: dict[bytes, bytes] = {}
    for name, value in pairs:
        held = fields.get(name.lower())
        stripped = value.strip(BLANKS)
        fields[name.lower()] = stripped if held is None else held + b", " + stripped
    return fields


@final
class RequestParser:
    """llhttp with our limits around it.

    Args:
        most_fields: of a head, or of a body's trailers.
        most_bytes: likewise.

    Attributes:
        heads: those that have come since somebody took them out, in order.
        current: the request whose body is arriving.
        between: nothing of a request has been fed that has not ended.
        last: nothing that comes is a request: the client wanted the connection to end.
        refusal: why nothing can be read any more.
    """

    __slots__ = (
        "_fields",
        "_most_bytes",
        "_most_fields",
        "_parser",
        "_quiet",
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
        self._quiet = 0
        self.refusal: RequestError | None = None
        self.heads: Final[list[Head]] = []
        self.current: Head | None = None
        self.between = True
        self.last = False

    def feed(self, data: bytes) -> None:
        """Read on; raises ``RequestError`` 400 or 431, after which nothing can be read any more."""
        if self.last:
            return
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except HttpParserError as error:
            if not self.last:
                raise self._refused() from error
        if self._quiet > self._most_bytes and not self.between:
            self.refusal = RequestError(431, _TOO_LARGE)
            raise self._refused()

    @property
    def pending(self) -> int:
        """Bytes of a head or trailer that is not complete."""
        return 0 if self.between else self._quiet

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Go on as if nothing had been offered (RFC 9110 §7.8): llhttp alone would take a body for the rest.

        A fresh parser is shown the fields that say where the request ends.
        """
        head = self.current
        self._parser = HttpRequestParser(self if head is None else _Rest(self))
        if head is not None:
            framing = b"".join(
                b"%b: %b\r\n" % (name, head.fields[name]) for name in _FRAMING & head.fields.keys()
            )
            try:
                self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
            except HttpParserError as error:
                raise self._refused() from error
        if rest:
            self._quiet = 0
            self.feed(rest)

    def _refused(self) -> RequestError:
        # What is not complete is not answered: perhaps it was another request's.
        if self.current is not None and self.current in self.heads:
            self.heads.remove(self.current)
        if self.refusal is None:
            self.refusal = RequestError(400, "this is not HTTP that can be understood")
        return self.refusal

    def _refuse(self, status: int, message: str) -> NoReturn:
        self.refusal = RequestError(status, message)
        raise self.refusal

    # --- what llhttp calls

    def on_message_begin(self) -> None:
        """A request line begins."""
        self.between = False
        self._target = b""
        self._fields = []

    def on_url(self, data: bytes) -> None:
        """More of the target."""
        self._target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, or a trailer, which nobody wants."""
        self._fields.append((name, value))
        if len(self._fields) > self._most_fields:
            self._refuse(431, "the request has too many header fields")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._quiet > self._most_bytes:
            self._refuse(431, _TOO_LARGE)
        parser = self._parser
        method = parser.get_method().decode()
        # llhttp leaves blanks that follow a value to the reader.
        fields = {name.lower(): value.strip(BLANKS) for name, value in self._fields}
        if len(fields) != len(self._fields):
            fields = _joined(self._fields)
        # What keeps a connection alive without a word is HTTP/1.1.
        close, old = False, False
        if b"connection" in fields or not parser.should_keep_alive():
            version = parser.get_http_version()
            old = version == "1.0"
            close = old or not parser.should_keep_alive()
            if version not in _VERSIONS:
                self._refuse(400, "this is not a version of HTTP that is understood here")
        if method == "CONNECT" or not self._target.isascii():
            self._refuse(400, "this is not a request for this server")
        head = Head(method, self._target, fields, self._body(fields), old=old, close=close)
        self._fields = []
        self._target = b""
        self._quiet = 0
        self.heads.append(head)
        self.current = None if head.body is None else head
        self.last = close and head.body is None

    def _body(self, fields: dict[bytes, bytes]) -> ArrivingBody | None:
        length = fields.get(b"content-length", b"0")
        if b"transfer-encoding" in fields:
            declared = None
        elif not length.isdigit() or len(length) > _DIGITS:
            self._refuse(400, "the length of the request body cannot be understood")
        else:
            declared = int(length)
            if declared == 0:
                return None
        expects = fields.get(b"expect", b"").lower() == b"100-continue"
        return ArrivingBody(declared, fields.get(b"content-encoding"), expects=expects)

    def on_body(self, data: bytes) -> None:
        """More of the body."""
        self._quiet = 0
        if self.current is not None and self.current.body is not None:
            self.current.body.feed(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self.current is not None:
            if self._parser.should_upgrade():
                return  # its body has still to come: see _ignore_upgrade
            if self.current.body is not None:
                self.current.body.end()
            self.last = self.current.close
            self.current = None
        self.between = True
        self._quiet = 0


@final
class _Rest:
    """What llhttp calls while it reads the body of a request whose head it has read before."""

    def __init__(self, owner: RequestParser) -> None:
        self._owner: Final = owner
        self.on_body: Final = owner.on_body
        self._begun = False

    def on_message_begin(self) -> None:
        """The head that it is shown, or that of the next request."""
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
        """The body has ended, or a later request."""
        self._owner.on_message_complete()
