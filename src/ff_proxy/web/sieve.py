"""The lines of a head that an answer depends on; what else clients send does not matter."""

import re
from typing import Final, final

from ff_proxy.bounded import BoundedMap, entry_cost
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.web.noise import Noise

_PLAIN: Final = 0
_SIGNIFICANT: Final = 1
_ECHOED: Final = 2
_NOISE: Final = 3
_ODD: Final = 4

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
_LONGEST_NAME: Final = 64
_NAMES_KEPT: Final = 1000
_LINES_PER_NAME: Final = 256
_NOISES_KEPT: Final = 1000
MOST_NOISE: Final = 8
"""So many lines of a head are taken for noise at most."""

Sifted = tuple[tuple[bytes, ...], bytes | None, list[bytes]]
"""The lines that matter (the request's own first), the one that holds an id to be echoed, and the noise."""


@final
class Sieve:
    """Sifts heads; lines seen before are not read again.

    A name that comes with ever new values, such as a trace's, is not worth remembering lines of: it is noise.
    """

    __slots__ = ("_learned", "_lines", "_noises", "_recall")

    def __init__(self, budget: int = LEAST_SHARES.routes // 2) -> None:
        self._lines: Final[BoundedMap[bytes, int]] = BoundedMap(budget, entry_cost)
        self._recall: Final = self._lines.recall
        self._learned: Final[dict[bytes, int]] = {}
        self._noises: Final[dict[tuple[bytes, ...], Noise]] = {}

    def sift(self, lines: list[bytes]) -> Sifted | None:
        """A head's ``lines`` sifted; ``None`` if one is not such as could stand in a head."""
        recall = self._recall
        matters = [lines[0]]
        echoed = None
        noise = []
        for line in lines[1:-2]:
            kind = recall(line)
            if kind is None:
                kind = self._learn(line)
            if kind == _PLAIN:
                continue
            if kind == _SIGNIFICANT:
                matters.append(line)
            elif kind == _ODD or (kind == _ECHOED and echoed is not None):
                return None
            else:
                noise.append(line)
                if kind == _ECHOED:
                    echoed = line
        return tuple(matters), echoed, noise

    def noise(self, lines: list[bytes], echoed: bytes | None) -> Noise | None:
        """The fields of ``lines`` as noise; connections whose clients are alike share it."""
        names = tuple(line.partition(b":")[0] for line in lines)
        noise = self._noises.get(names)
        short = 0 < len(names) <= MOST_NOISE and max(map(len, names)) <= _LONGEST_NAME
        if noise is None and short and len(self._noises) < _NOISES_KEPT:
            noise = Noise(names, None if echoed is None else echoed.partition(b":")[0])
            self._noises[names] = noise
        return noise

    def _learn(self, line: bytes) -> int:
        match = _LINE.fullmatch(line)
        if match is None:
            return _ODD
        name = match[1]
        kind = _NAMES.get(name.lower(), _PLAIN)
        if kind == _PLAIN and not self._worthwhile(name):
            return _NOISE
        if kind != _ECHOED:
            self._lines.put(line, kind)
        return kind

    def _worthwhile(self, name: bytes) -> bool:
        if len(name) > _LONGEST_NAME:
            return False
        learned = self._learned.get(name, 0)
        if learned == 0 and len(self._learned) >= _NAMES_KEPT:
            return False
        if learned < _LINES_PER_NAME:
            self._learned[name] = learned + 1
        return learned < _LINES_PER_NAME
