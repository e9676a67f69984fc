"""How long Harness has not responded to one environment's requests (spec/behaviour#lease)."""

from typing import Literal, final

from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Domain

RepeatedRequest = Domain | Literal["probe"]
"""A list or a probe: these are repeated, so they show whether Harness is reachable."""


@final
class ResponseTracker:
    """Measures from the first unanswered request: one that hangs counts like one that fails."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[RepeatedRequest, float] = {}

    @property
    def unanswered_for(self) -> float:
        """Seconds since the oldest unanswered request; 0 if all were answered."""
        return self._clock.monotonic() - min(self._since.values()) if self._since else 0.0

    def request_sent(self, request: RepeatedRequest) -> None:
        """A request is sent."""
        self._since.setdefault(request, self._clock.monotonic())

    def response_received(self, request: RepeatedRequest) -> None:
        """Harness has responded."""
        self._since.pop(request, None)
