"""The lines of a head that an answer depends on; what else clients send does not matter."""

import re
from typing import Final, final

from ff_proxy.web.cache import Cache

_PLAIN: Final = 0
_SIGNIFICANT: Final = 1
_ECHOED: Final = 2
_ODD: Final = 3

_NAMES: Final = {
    b"x-request-id": _ECHOED,
    **dict.fromkeys(
        (
            b"accept-encoding",
            b"api-key",
            b"authorization",
            b"connection",
            b"content-length",
            b"expect",
            b"harness-target",
            b"if-none-match",
            b"origin",
            b"proxy-connection",
            b"transfer-encoding",
            b"upgrade",
        ),
        _SIGNIFICANT,
    ),
}
_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t -~\x80-\xff]*")
_CAPACITY: Final = 4 * 1024 * 1024
_OVERHEAD: Final = 100
_NAMES_KEPT: Final = 1000
_LINES_PER_NAME: Final = 256


@final
class Sieve:
    """Sifts heads; lines seen before are not read again.

    A name that comes with ever new values, such as a trace's, is not worth remembering lines of.
    """

    __slots__ = ("_learned", "_lines", "_recall")

    def __init__(self) -> None:
        self._lines: Final[Cache[bytes, int]] = Cache(_CAPACITY, lambda line, _: len(line) + _OVERHEAD)
        self._recall: Final = self._lines.recall
        self._learned: Final[dict[bytes, int]] = {}

    def sift(self, lines: list[bytes]) -> tuple[tuple[bytes, ...], bytes | None] | None:
        """What matters of a head's ``lines``, and the one that holds an id to be echoed, if there is one.

        ``None`` if a line is not one that could stand in a head.
        """
        recall = self._recall
        matters = [lines[0]]
        echoed = None
        for line in lines[1:-2]:
            kind = recall(line)
            if kind is None:
                kind = self._learn(line)
            if kind == _PLAIN:
                continue
            if kind == _SIGNIFICANT:
                matters.append(line)
            elif kind == _ODD or echoed is not None:
                return None
            else:
                echoed = line
        return tuple(matters), echoed

    def _learn(self, line: bytes) -> int:
        match = _LINE.fullmatch(line)
        if match is None:
            return _ODD
        name = match[1]
        kind = _NAMES.get(name.lower(), _PLAIN)
        if kind == _SIGNIFICANT or (kind == _PLAIN and self._worthwhile(name)):
            self._lines.put(line, kind)
        return kind

    def _worthwhile(self, name: bytes) -> bool:
        learned = self._learned.get(name, 0)
        if learned == 0 and len(self._learned) >= _NAMES_KEPT:
            return False
        if learned < _LINES_PER_NAME:
            self._learned[name] = learned + 1
        return learned < _LINES_PER_NAME
