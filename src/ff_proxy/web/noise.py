"""Header fields that come with ever new values, such as a trace's: without them a request is an old one."""

from typing import Final, final

_LINE_END: Final = b"\r\n"


@final
class Noise:
    """The names of such fields in a connection's requests, as they are spelled there.

    Args:
        names: of fields that change no answer.
        echoed: the name of the one whose value goes into the response, if it is among them.
    """

    __slots__ = ("_echoed", "_marks")

    def __init__(self, names: tuple[bytes, ...], echoed: bytes | None) -> None:
        self._marks: Final = tuple(b"%b%b:" % (_LINE_END, name) for name in names)
        self._echoed: Final = None if echoed is None else self._marks[names.index(echoed)]

    def cut(self, head: bytes) -> tuple[bytes, bytes | None] | None:
        """A head's bytes without one line of each name, and the value to be echoed.

        What is left is a head if and only if ``head`` is one. ``None`` if it has no line of some name, or
        one that is not plain text.
        """
        echoed = None
        for mark in self._marks:
            before, found, rest = head.partition(mark)
            value, end, after = rest.partition(_LINE_END)
            if not found or not value.decode("latin-1").isprintable():
                return None
            if mark is self._echoed:
                echoed = value
            head = before + end + after
        return head, echoed
