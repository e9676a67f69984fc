"""Since when Harness does not answer, as far as one environment's requests tell (spec/behaviour#lease)."""

from enum import Enum
from typing import final

from ff_proxy.model.clock import Clock


class Question(Enum):
    """What is asked again and again, so that its answers tell whether Harness can be reached."""

    FLAGS = "flags"
    SEGMENTS = "segments"
    PROBE = "probe"


@final
class Contact:
    """Counts a question from when it was first asked in vain: one that hangs is as bad as one that fails."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[Question, float] = {}

    @property
    def lost_for(self) -> float:
        """Seconds since the oldest question that has had no answer; 0 if every one has."""
        return self._clock.monotonic() - min(self._since.values()) if self._since else 0.0

    def asked(self, question: Question) -> None:
        """The question goes out."""
        self._since.setdefault(question, self._clock.monotonic())

    def answered(self, question: Question) -> None:
        """Harness has answered it."""
        self._since.pop(question, None)
