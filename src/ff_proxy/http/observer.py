"""What is told of requests: counted for metrics, and logged if somebody wants that."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, Protocol, final

import msgspec

from ff_proxy.http.routes import Match


@final
class Tally:
    """Requests of one kind that have been answered since somebody last looked.

    Args:
        bounds: seconds, ascending: the upper ends of what ``timed`` tells apart.

    Attributes:
        count: how many there were.
        timed: how many of those that were timed took so long; the last, longer than every bound.
        seconds: what these took together.
    """

    __slots__ = ("_bounds", "count", "seconds", "timed")

    def __init__(self, bounds: Sequence[float] = ()) -> None:
        self._bounds: Final = bounds
        self.clear()

    def took(self, seconds: float) -> None:
        """One of those that are counted took so long."""
        self.timed[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds

    def clear(self) -> None:
        """Begin anew."""
        self.count = 0
        self.seconds = 0.0
        self.timed = [0] * (len(self._bounds) + 1)


class Answered(msgspec.Struct, frozen=True):
    """A request that has been answered.

    Attributes:
        method: such as ``GET``.
        path: raw.
        match: the route's template and what the path names; ``None`` for unknown routes.
        status: of the response.
        seconds: from the head to the answer; of one that is remembered, to write the answer.
        peer: the client's address.
        request_id: as the client sent it, or as it was made.
        sdk: the value of ``Harness-SDK-Info``, or of ``User-Agent`` if there is none.
        cause: what an error says to the client; empty for other answers.
        label: what a ``Handover`` has told of itself.
        traceparent: of the caller's span, if it sent one.
    """

    method: str
    path: bytes
    match: Match | None
    status: int
    seconds: float
    peer: str
    request_id: bytes | None
    sdk: bytes | None
    cause: str = ""
    label: str = ""
    traceparent: bytes | None = None


class Observer(Protocol):
    """Is told of every request.

    When ``logs`` changes, ``ServerState.look_at_logs`` has to be called.

    Attributes:
        logs: every request is to be told to ``answered``.
        logs_errors: those that were answered with an error are.
    """

    logs: bool
    logs_errors: bool

    def tally(self, method: str, match: Match | None, status: int, label: str = "") -> Tally:
        """Where to count requests of that kind; ``label`` is what a ``Handover`` has told of itself."""
        ...

    def answered(self, answered: Answered) -> None:
        """A request has been answered; it has been counted already."""
        ...

    def known(self, data: bytes) -> str | None:
        """What ``repeated`` needs for a request of exactly these bytes; ``None``: tell ``learn`` first."""
        ...

    def learn(self, data: bytes, answered: Answered) -> None:
        """As ``answered``, for a request of exactly these bytes that was answered with what is remembered."""
        ...

    def repeated(self, known: str, peer: str, seconds: float) -> None:
        """An equal request was answered likewise."""
        ...

    def body_bytes(self, match: Match, length: int) -> None:
        """A request had a body of that declared length."""
        ...

    def tick(self) -> None:
        """A second has passed."""
        ...


class NullObserver:
    """An ``Observer`` that looks away: for servers whose requests nobody counts."""

    logs = logs_errors = False

    def tally(self, *_: object, **__: object) -> Tally:
        """See ``Observer``."""
        return Tally()

    def _look_away(self, *_: object, **__: object) -> None:
        pass

    answered = known = learn = repeated = body_bytes = tick = _look_away
