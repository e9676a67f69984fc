"""The interface through which the server reports requests, for metrics and the access log."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, Protocol, final

import msgspec

from ff_proxy.http.routes import Match


@final
class Tally:
    """Counts answered requests of one kind since the last ``clear``.

    Args:
        bounds: upper bounds of the latency buckets in seconds, ascending.

    Attributes:
        count: answered requests.
        timed: timed requests per bucket; the last bucket is above every bound.
        seconds: total latency of the timed requests.
    """

    __slots__ = ("_bounds", "count", "seconds", "timed")

    def __init__(self, bounds: Sequence[float] = ()) -> None:
        self._bounds: Final = bounds
        self.clear()

    def took(self, seconds: float) -> None:
        """Record the latency of one counted request."""
        self.timed[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds

    def clear(self) -> None:
        """Reset everything to zero."""
        self.count = 0
        self.seconds = 0.0
        self.timed = [0] * (len(self._bounds) + 1)


class Answered(msgspec.Struct, frozen=True):
    """A request that has been answered, for the access log.

    Attributes:
        method: such as ``GET``.
        path: as sent.
        match: the route template and its parameters; ``None`` for unknown routes.
        status: the response's status.
        seconds: from the head to the answer; for a cache hit, the time to write the answer.
        peer: the peer's address.
        request_id: the valid ``X-Request-ID`` that the client sent, if any.
        sdk: the value of ``Harness-SDK-Info``, or else of ``User-Agent``.
        cause: the error message sent to the client; empty for other responses.
        label: the label of a ``Handover``.
        traceparent: the caller's ``traceparent``, if it sent one.
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
    """Receives every answered request.

    Whoever changes ``logs`` must call ``ServerState.refresh_logging``.

    Attributes:
        logs: pass every request to ``answered``.
        logs_errors: pass requests that failed to ``answered``.
    """

    logs: bool
    logs_errors: bool

    def tally(self, method: str, match: Match | None, status: int, label: str = "") -> Tally:
        """The counter of this kind of request; ``label`` is that of a ``Handover``."""
        ...

    def answered(self, answered: Answered, data: bytes = b"") -> None:
        """Log a request, which has been counted already; ``data`` are its bytes if they may well recur."""
        ...

    def repeated(self, data: bytes, peer: str, seconds: float) -> bool:
        """Log a cache hit if a request of exactly these bytes is known; if not, call ``answered``."""
        ...

    def body_bytes(self, match: Match, length: int) -> None:
        """Record the ``Content-Length`` of a request body."""
        ...

    def tick(self) -> None:
        """A second has passed."""
        ...


class NullObserver:
    """An ``Observer`` that does nothing, for servers without request metrics."""

    logs = logs_errors = False

    def tally(self, *_: object, **__: object) -> Tally:
        """See ``Observer``."""
        return Tally()

    def _ignore(self, *_: object, **__: object) -> None:
        pass

    def repeated(self, *_: object) -> bool:
        """See ``Observer``."""
        return True

    answered = body_bytes = tick = _ignore
