"""How often to look at what another process does in its own time, and tells nobody."""

import time
from typing import Final

_SHORTEST: Final = 0.05
_LONGEST: Final = 0.3


def until_next_look(began: float) -> float:
    """Seconds until the next look; ``began`` is when the first one was, by the monotonic clock.

    The longer it takes, the less often: each look is a request, which costs both sides CPU.
    """
    return min(max(_SHORTEST, (time.monotonic() - began) / 10), _LONGEST)
