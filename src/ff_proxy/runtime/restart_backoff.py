"""When to restart a child: at once the first time, with growing delays if it keeps dying."""

from random import Random
from typing import Final

from ff_proxy.model.backoff import Backoff

_LIVED: Final = 10.0
"""After so many seconds of life, a death counts as the first one."""


class RestartBackoff:
    """One child's delays: none, then about a second, doubled up to half a minute."""

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
