"""A connection's receive buffer, and the parser that it feeds."""

from collections.abc import Callable
from typing import Final, final

from ff_proxy.errors import RequestError
from ff_proxy.http.body_reader import ArrivingBody
from ff_proxy.http.buffer_budget import Hold
from ff_proxy.http.parser import Head, RequestParser
from ff_proxy.http.server_state import ServerState
from ff_proxy.http.whole_heads import END

_LINE_END: Final = b"\r\n"
_UNCOUNTED: Final = 16 * 1024
"""Bytes per connection that are not charged to the buffer budget."""

_SLICE: Final = 16 * 1024
"""Bytes fed to the parser at a time."""

_MOST_CUTS: Final = 16
"""How often a chunked body is cut at what may be its end: blank lines would make thousands of slices."""


@final
class Incoming:
    """Feeds the parser one head or one slice of a body at a time; idle connections hold no parser.

    Attributes:
        buffer: bytes not yet fed.
        refusal: the error that ended parsing, if any.
    """

    __slots__ = ("_hold", "_parser", "_rest", "_state", "buffer", "refusal")

    def __init__(self, state: ServerState) -> None:
        self._state: Final = state
        self._parser: RequestParser | None = None
        self._rest = b""
        self._hold: Hold | None = None
        self.buffer: Final = bytearray()
        self.refusal: RequestError | None = None

    @property
    def between(self) -> bool:
        """Whether the parser is between two requests."""
        return self._parser is None or self._parser.between

    @property
    def empty(self) -> bool:
        """Whether no byte of a next request has arrived."""
        return not self.buffer and self._parser is None

    @property
    def counted(self) -> bool:
        """Whether something is charged to the buffer budget."""
        return self._hold is not None

    @property
    def held(self) -> int:
        """Bytes in memory, bodies excluded."""
        return len(self.buffer) + (0 if self._parser is None else self._parser.pending)

    def next_head(self) -> Head | None:
        """The next parsed head, if any."""
        parser = self._parser
        return parser.heads.pop(0) if parser is not None and parser.heads else None

    def may_complete(self, head: Head) -> bool:
        """Whether a request may yet be answered if its client sends no more: all of it may have arrived."""
        return head.whole or bool(self.buffer)

    def feed(self, data: bytes) -> None:
        """Parse ``data``, which precedes the buffer; an error is kept in ``refusal``."""
        parser = self._parser
        if parser is None:
            parser = self._parser = self._state.acquire_parser()
        try:
            parser.feed(data)
        except RequestError as refusal:
            self.refusal = refusal
        self._rest = b"" if parser.between else (self._rest + data)[-len(END) + 1 :]

    def cut_head(self) -> bytes | None:
        """Take the rest of the current head out of the buffer, or the part of it worth parsing now."""
        buffer = self.buffer
        between = self.between
        if between:
            # Some clients send a stray CRLF after a body (RFC 9112 §2.2).
            while buffer.startswith(_LINE_END):
                del buffer[: len(_LINE_END)]
        if not buffer:
            return None
        length = self._length_to_end()
        if length == 0:
            # The first bytes show whether this is HTTP at all; parse the others in large slices.
            if not between and len(buffer) < _SLICE:
                return None
            length = min(len(buffer), _SLICE)
        return self._cut(length)

    def feed_body(self, body: ArrivingBody) -> bool:
        """Parse a slice of ``body``; ``False`` if there is none or its buffer is full."""
        if body.ended or body.full or not self.buffer:
            return False
        body.expects = False
        left = _SLICE if body.declared is None else body.declared - body.received
        # A chunked body ends like a head, and the parser wants the next head to itself.
        if body.declared is None and body.cuts < _MOST_CUTS and 0 < (end := self._length_to_end()) < left:
            body.cuts += 1
            left = end
        self.feed(self._cut(min(left, _SLICE)))
        return True

    def count(self, body: ArrivingBody | None, share: str, peer: str, evict: Callable[[], None]) -> None:
        """Charge buffered bytes to ``share``, and within it to ``peer``; see ``Hold``."""
        held = self.held + (0 if body is None else body.held)
        hold = self._hold
        if hold is not None and hold.share != share:
            hold.resize(0)
            hold = self._hold = None
        if hold is None:
            if held <= _UNCOUNTED:
                return
            hold = self._hold = self._state.bodies.open(share, peer, evict)
        hold.resize(held if held > _UNCOUNTED else 0)

    def release_parser(self) -> None:
        """Return the parser to the pool if it is between two requests."""
        parser = self._parser
        if parser is not None and parser.between and not parser.heads and self.refusal is None:
            self._parser = None
            self._state.release_parser(parser)

    def clear(self) -> None:
        """Free buffer and parser: nothing more will be read."""
        self.buffer.clear()
        self.release_parser()
        self._parser = None
        if self._hold is not None:
            self._hold.resize(0)

    def _length_to_end(self) -> int:
        """Bytes of the buffer through the next ``END``, which may begin before it; 0 if there is none."""
        rest = self._rest
        if rest:
            end = (rest + self.buffer[: len(END)]).find(END)
            if end >= 0:
                return end + len(END) - len(rest)
        end = self.buffer.find(END)
        return end + len(END) if end >= 0 else 0

    def _cut(self, length: int) -> bytes:
        piece = bytes(self.buffer[:length])
        del self.buffer[:length]
        return piece
