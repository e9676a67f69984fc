"""Requests that arrive whole, in one read and without a body: what polling SDKs send."""

from collections.abc import Callable
from typing import Final, final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from ff_proxy.http.parser import BLANKS, Head

END: Final = b"\r\n\r\n"
"""What a head ends with."""

LONGEST: Final = 4096
"""Bytes: longer heads are rare, and reading one in vain costs as much as reading it."""

_MOST_FIELDS: Final = 64
_KEEP_ALIVE: Final = b"keep-alive"
_CONNECTION: Final = b"connection"
_ELSEWHERE: Final = frozenset({b"content-length", b"transfer-encoding", b"upgrade", b"expect"})
# A request line and an empty line.
_OTHER_LINES: Final = 2


@final
class WholeHeads:
    """llhttp as ``RequestParser`` uses it, for the requests that need none of its state.

    Nothing of ours is called while llhttp reads: it fills a list and a dict, which is a third of the time.
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
        """The request that ``data`` is, or ``None`` if ``RequestParser`` must say what it is.

        Args:
            data: ends with ``END`` and is at most ``LONGEST``.
        """
        parser, targets, held = self._parser, self._targets, self._fields
        try:
            self._feed(data)
        except (HttpParserError, HttpParserUpgrade):
            self._forget()
            return None
        # llhttp leaves blanks that follow a value to the reader.
        fields = {name.lower(): value.strip(BLANKS) for name, value in held.items()}
        connection = fields.get(_CONNECTION, _KEEP_ALIVE)
        if (
            # Each line is a field of another name, and there is one request.
            len(fields) + _OTHER_LINES != data.count(b"\n")
            or len(targets) != 1
            or len(fields) > _MOST_FIELDS
            or not _ELSEWHERE.isdisjoint(fields)
            or (connection != _KEEP_ALIVE and connection.lower() != _KEEP_ALIVE)
            # HTTP/1.1: others do not keep a connection alive without a word.
            or not parser.should_keep_alive()
            # Of other methods llhttp may expect more than a head.
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
