"""Finds the known name that a mistyped one was probably meant to be."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

_SHORT_NAME: Final = 5
"""Up to this length, two edits make another word: HOST and HOME."""


def nearest(name: str, names: Sequence[str], *, prefix: str = "") -> str:
    """A hint such as ``; did you mean -port?``; empty if no name is similar."""
    by_plain = {_plain(known): known for known in reversed(names)}
    matches = get_close_matches(_plain(name), by_plain, n=1)
    return f"; did you mean {prefix}{by_plain[matches[0]]}?" if matches else ""


def near_miss(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` within two edits of ``name`` (one for short names), ignoring case."""
    best: tuple[int, str] | None = None
    for known in names:
        max_distance = 1 if len(known) <= _SHORT_NAME else 2
        if known == name or abs(len(known) - len(name)) > max_distance:
            continue
        distance = _distance(name.upper(), known)
        if distance <= max_distance and (best is None or distance < best[0]):
            best = distance, known
    return best[1] if best else None


def _plain(name: str) -> str:
    return name.replace("_", "-").casefold()


def _distance(left: str, right: str) -> int:
    """The number of edits: insert, delete, replace or swap neighbours (optimal string alignment distance)."""
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
