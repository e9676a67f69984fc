"""Names that come close to one that is known: what was probably meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

_SHORT: Final = 5
"""Up to this length two letters make another word: HOST and HOME."""


def nearest(name: str, names: Sequence[str], *, prefix: str = "") -> str:
    """A hint such as ``; did you mean -port?``, or nothing if no name comes close."""
    by_plain = {_plain(known): known for known in reversed(names)}
    matches = get_close_matches(_plain(name), by_plain, n=1)
    return f"; did you mean {prefix}{by_plain[matches[0]]}?" if matches else ""


def near_miss(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that ``name`` misses by one or two letters (one, in short names), or by case."""
    best: tuple[int, str] | None = None
    for known in names:
        most = 1 if len(known) <= _SHORT else 2
        if known == name or abs(len(known) - len(name)) > most:
            continue
        distance = _distance(name.upper(), known)
        if distance <= most and (best is None or distance < best[0]):
            best = distance, known
    return best[1] if best else None


def _plain(name: str) -> str:
    return name.replace("_", "-").casefold()


def _distance(left: str, right: str) -> int:
    """Letters to insert, delete, replace or swap with their neighbour (optimal string alignment)."""
    before: list[int] = []
    previous = list(range(len(right) + 1))
    for row, one in enumerate(left, start=1):
        current = [row]
        for column, other in enumerate(right, start=1):
            cost = min(previous[column] + 1, current[column - 1] + 1, previous[column - 1] + (one != other))
            if row > 1 and column > 1 and one == right[column - 2] and left[row - 2] == other:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, previous = previous, current
    return previous[-1]
