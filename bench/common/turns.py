"""Measuring alternately, so that other load on the machine affects all alike."""

from collections.abc import Callable, Sequence
from typing import TypeVar

_Measured = TypeVar("_Measured")


def in_turns(
    measures: Sequence[Callable[[], _Measured]], rounds: int, *, warm_up: bool = False
) -> list[list[_Measured]]:
    """The results of each of ``measures`` in each of ``rounds``; every other round goes backwards.

    With ``warm_up`` there is one more round, first, that does not count.
    """
    results: list[list[_Measured]] = [[] for _ in measures]
    for number in range(rounds + warm_up):
        order = range(len(measures)) if number % 2 else reversed(range(len(measures)))
        for place in order:
            results[place].append(measures[place]())
    return [given[warm_up:] for given in results]
