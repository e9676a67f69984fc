"""The bytes that a client has sent, on their way to the parser."""

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
"""Bytes that a connection may hold without anybody's counting them."""

_SLICE: Final = 16 * 1024
"""Bytes that are fed to the parser at a time."""


@final
class Incoming:
    """What waits to be parsed, and the parser while it is needed: one head or slice of a body at a time.

    Attributes:
        buffer: bytes that have not been fed.
        refusal: why nothing can be read any more.
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
        """Nothing of a request has been fed that is not complete."""
        return self._parser is None or self._parser.between

    @property
    def empty(self) -> bool:
        """Nothing at all has come of a next request."""
        return not self.buffer and self._parser is None

    @property
    def counted(self) -> bool:
        """Memory has been taken that is to be given back."""
        return self._hold is not None

    @property
    def held(self) -> int:
        """Bytes in memory, without those of a body."""
        return len(self.buffer) + (0 if self._parser is None else self._parser.pending)

    def next_head(self) -> Head | None:
        """The next head that has been parsed."""
        parser = self._parser
        return parser.heads.pop(0) if parser is not None and parser.heads else None

    def feed(self, data: bytes) -> None:
        """Have ``data`` parsed, which comes before what is in the buffer."""
        parser = self._parser
        if parser is None:
            parser = self._parser = self._state.take_parser()
        try:
            parser.feed(data)
        except RequestError as refusal:
            self.refusal = refusal
        self._rest = b"" if parser.between else (self._rest + data)[-len(END) + 1 :]

    def cut_head(self) -> bytes | None:
        """Take out the rest of the present head, or what there is of it if that is worth a look."""
        buffer = self.buffer
        between = self.between
        if between:
            # Some clients end a body with a line end that belongs to nothing (RFC 9112 §2.2).
            while buffer.startswith(_LINE_END):
                del buffer[: len(_LINE_END)]
        if not buffer:
            return None
        length = self._head_length()
        if length == 0:
            # The first bytes tell whether it is HTTP at all; the others can wait until they are many.
            if not between and len(buffer) < _SLICE:
                return None
            length = min(len(buffer), _SLICE)
        return self._cut(length)

    def feed_body(self, body: ArrivingBody) -> bool:
        """Have a slice of ``body`` parsed, if there is one and its reader wants it."""
        if body.ended or body.full or not self.buffer:
            return False
        body.expects = False
        length = _SLICE if body.declared is None else min(_SLICE, body.declared - body.received)
        self.feed(self._cut(length))
        return True

    def count(self, body: ArrivingBody | None, share: str, peer: str, evict: Callable[[], None]) -> None:
        """Take memory for what has come, on the account of ``share`` and in it of ``peer``; see ``Hold``."""
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

    def settle(self) -> None:
        """Give the parser back if it is not in the middle of anything."""
        parser = self._parser
        if parser is not None and parser.between and not parser.heads and self.refusal is None:
            self._parser = None
            self._state.give_parser(parser)

    def clear(self) -> None:
        """Nothing more will be read."""
        self.buffer.clear()
        self.settle()
        self._parser = None
        if self._hold is not None:
            self._hold.resize(0)

    def _head_length(self) -> int:
        """How many bytes of the buffer belong to the present head; 0 if it does not end there."""
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
