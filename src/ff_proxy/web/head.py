"""Reading a request's head at the edge: strictly, or not at all."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, final

from ff_proxy.web.request import RequestHead

END: Final = b"\r\n\r\n"
"""What a head ends with."""

# An absolute target is one through a proxy; what counts is its path (RFC 9112 §3.2.2).
_LINE: Final = re.compile(
    rb"([A-Z]{1,20}) (?:[Hh][Tt][Tt][Pp][Ss]?://[^/?# ]+)?"
    rb"(/[!-\"$->@-~]*)(?:\?([!-\"$-~]*))? HTTP/1\.([01])"
)
_FIELDS: Final = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)*\r\n")
_UPGRADE: Final = re.compile(rb"(?<=\r\n)upgrade:[^\r\n]*\r\n", re.IGNORECASE)
_DIGITS: Final = 18


@final
class EdgeHead:
    """A head that could be read.

    Attributes:
        head: what answers depend on.
        old: it is HTTP/1.0.
        close: the connection is to end with the response.
        length: bytes of the body; -1 if that is not for the edge to say.
        usual: it expects nothing special.
        simple: a usual GET without a body.
    """

    __slots__ = ("close", "head", "length", "old", "simple", "usual")

    def __init__(self, head: RequestHead, *, old: bool) -> None:
        fields = head.fields
        connection = fields.get(b"connection")
        self.head: Final = head
        self.old: Final = old
        self.close: Final = old or (connection is not None and _closes(connection))
        self.length: Final = _length(fields.get(b"content-length"), fields.get(b"transfer-encoding"))
        self.usual: Final = b"expect" not in fields and b"proxy-connection" not in fields
        self.simple: Final = self.length == 0 and head.method == "GET" and self.usual


def read_head(data: bytes) -> EdgeHead | None:
    """The head in ``data`` (all of it, with its end), or ``None`` if there is anything odd about it."""
    line, _, fields = data.partition(b"\r\n")
    if _FIELDS.fullmatch(fields) is None:
        return None
    return _head(line, fields[: -len(END)].split(b"\r\n") if len(fields) > len(END) else ())


def sifted_head(matters: Sequence[bytes], echoed: bytes | None) -> EdgeHead | None:
    """The head of which the sieve has left these lines: no field that matters is missing."""
    return _head(matters[0], matters[1:] if echoed is None else (*matters[1:], echoed))


def without_upgrade(data: bytes) -> bytes:
    """The head in ``data`` without an offer to speak something else, which may be ignored (RFC 9110 §7.8).

    The parser that it is lent to would drop the body of a request that makes one.
    """
    return _UPGRADE.sub(b"", data)


def _head(line: bytes, lines: Iterable[bytes]) -> EdgeHead | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    method, path, query, minor = match.groups()
    fields: dict[bytes, bytes] = {}
    for text in lines:
        name, _, value = text.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        fields[name] = fields[name] + b", " + value if name in fields else value
    return EdgeHead(RequestHead(method.decode(), path, query or b"", fields), old=minor == b"0")


def _closes(connection: bytes) -> bool:
    return b"close" in map(bytes.strip, connection.lower().split(b","))


def _length(length: bytes | None, coding: bytes | None) -> int:
    if coding is not None:
        return -1
    if length is None:
        return 0
    return int(length) if length.isdigit() and len(length) <= _DIGITS else -1
