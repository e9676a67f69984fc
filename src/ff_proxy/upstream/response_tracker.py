"""How long Harness has not responded to one environment's requests (spec/behaviour#lease)."""

from enum import Enum
from typing import final

from ff_proxy.model.clock import Clock


class RequestKind(Enum):
    """Requests that are repeated, so that they show whether Harness is reachable."""

    FLAGS = "flags"
    SEGMENTS = "segments"
    PROBE = "probe"


@final
class ResponseTracker:
    """Measures from the first unanswered request: one that hangs counts like one that fails."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[RequestKind, float] = {}

    @property
    def unanswered_for(self) -> float:
        """Seconds since the oldest unanswered request; 0 if all were answered."""
        return self._clock.monotonic() - min(self._since.values()) if self._since else 0.0

    def request_sent(self, kind: RequestKind) -> None:
        """A request is sent."""
        self._since.setdefault(kind, self._clock.monotonic())

    def response_received(self, kind: RequestKind) -> None:
        """Harness has responded."""
        self._since.pop(kind, None)
