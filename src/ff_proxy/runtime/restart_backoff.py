"""When a child that died is started again: at once the first time, later and later if it keeps dying."""

from random import Random
from typing import Final

from ff_proxy.model.backoff import Backoff

_LIVED: Final = 10.0
"""A child that has lived for so many seconds died of something new."""


class RestartBackoff:
    """One child's waits: none, then about a second, doubled up to half a minute."""

    def __init__(self, random: Random) -> None:
        self._backoff = Backoff(random)
        self._died_young = False

    def after(self, lived: float) -> float:
        """Seconds to wait before the next start of a child that has lived for ``lived`` seconds."""
        again = self._died_young and lived < _LIVED
        self._died_young = True
        if again:
            return self._backoff.next()
        self._backoff.reset()
        return 0.0
