"""Delays between tries: growing, jittered, and short again after a success."""

from collections.abc import Iterator
from random import Random
from typing import Final

from ff_proxy.errors import FfProxyError, UpstreamUnavailable

CAP: Final = 30.0

_FIRST: Final = 1.0
_FACTOR: Final = 2.0


def delays(random: Random, cap: float = CAP) -> Iterator[float]:
    """Seconds to wait, without end: the first below 1, then doubling up to ``cap``, each less up to its half.

    The jitter keeps a hundred environments from coming back to Harness in the same second.
    """
    ceiling = _FIRST
    while True:
        yield ceiling * (0.5 + random.random() / 2)
        ceiling = min(ceiling * _FACTOR, cap)


def requested_wait(error: FfProxyError | None) -> float:
    """The seconds that Harness asked to wait with this error before the next try; 0 if it did not."""
    asked = error.retry_after if isinstance(error, UpstreamUnavailable) else None
    return asked or 0.0


class Backoff:
    """One series of tries."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._delays = delays(random)

    def next(self, error: FfProxyError | None = None) -> float:
        """Seconds until the next try; never less than what Harness asked to wait for."""
        return max(next(self._delays), requested_wait(error))

    def reset(self) -> None:
        """A try has succeeded."""
        self._delays = delays(self._random)


def jittered(random: Random, interval: float) -> float:
    """``interval`` seconds give or take a tenth: what is done at intervals must not march in step."""
    return interval * (0.9 + random.random() / 5)
