"""Parses requests that arrive complete in one read and without a body: what polling SDKs send."""

from collections.abc import Callable
from typing import Final, final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from ff_proxy.http.parser import BLANKS, Head

END: Final = b"\r\n\r\n"
"""The end of a head."""

LONGEST: Final = 4096
"""Longest head in bytes: longer ones are rare, and a failed attempt costs as much as a successful one."""

_MOST_FIELDS: Final = 64
_KEEP_ALIVE: Final = b"keep-alive"
_CONNECTION: Final = b"connection"
_ELSEWHERE: Final = frozenset({b"content-length", b"transfer-encoding", b"upgrade", b"expect"})
# The request line and the empty line.
_OTHER_LINES: Final = 2


@final
class WholeHeads:
    """A fast path beside ``RequestParser`` for requests that need none of its state.

    llhttp's callbacks are methods of a list and a dict, so no Python code runs while it parses.
    """

    __slots__ = ("_feed", "_fields", "_parser", "_targets", "on_header", "on_url")

    def __init__(self) -> None:
        self._targets: Final[list[bytes]] = []
        self._fields: Final[dict[bytes, bytes]] = {}
        self.on_url: Final = self._targets.append
        self.on_header: Final = self._fields.setdefault
        self._renew()

    def _renew(self) -> None:
        self._parser = HttpRequestParser(self)
        self._feed: Callable[[bytes], None] = self._parser.feed_data

    def read(self, data: bytes) -> Head | None:
        """The request in ``data``, or ``None`` if ``RequestParser`` has to parse it.

        Args:
            data: ends with ``END`` and has at most ``LONGEST`` bytes.
        """
        parser, targets, held = self._parser, self._targets, self._fields
        try:
            self._feed(data)
        except (HttpParserError, HttpParserUpgrade):
            self._forget()
            return None
        # llhttp does not strip white space after a value.
        fields = {name.lower(): value.strip(BLANKS) for name, value in held.items()}
        connection = fields.get(_CONNECTION, _KEEP_ALIVE)
        if (
            # Field names are distinct, and there is exactly one request.
            len(fields) + _OTHER_LINES != data.count(b"\n")
            or len(targets) != 1
            or len(fields) > _MOST_FIELDS
            or not _ELSEWHERE.isdisjoint(fields)
            or (connection != _KEEP_ALIVE and connection.lower() != _KEEP_ALIVE)
            # HTTP/1.1: older versions close by default.
            or not parser.should_keep_alive()
            # With other methods llhttp may expect a body.
            or parser.get_method() != b"GET"
            or not targets[0].isascii()
        ):
            self._forget()
            return None
        held.clear()
        return Head("GET", targets.pop(), fields)

    def _forget(self) -> None:
        self._targets.clear()
        self._fields.clear()
        self._renew()
