"""What is told of requests: counted for metrics, and logged if somebody wants that."""

from typing import Protocol, final

import msgspec

from ff_proxy.http.routes import Match


@final
class Tally:
    """Requests of one kind that have been answered since somebody last looked."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Answered(msgspec.Struct, frozen=True):
    """A request that has been answered.

    Attributes:
        method: such as ``GET``.
        path: raw.
        match: the route's template and what the path names; ``None`` for unknown routes.
        status: of the response.
        seconds: from the head to the answer; 0 for those that were not measured.
        peer: the client's address.
        request_id: as the client sent it.
        sdk: the value of ``Harness-SDK-Info``.
    """

    method: str
    path: bytes
    match: Match | None
    status: int
    seconds: float
    peer: str
    request_id: bytes | None
    sdk: bytes | None


class Observer(Protocol):
    """Is told of every request.

    Attributes:
        logs: every request is to be told to ``answered``; otherwise only those that took their time.
    """

    logs: bool

    def tally(self, method: str, match: Match | None, status: int, label: str = "") -> Tally:
        """Where to count requests of that kind; ``label`` is what a ``Handover`` has told of itself."""
        ...

    def answered(self, answered: Answered) -> None:
        """A request has been answered; it has been counted already."""
        ...

    def body_bytes(self, match: Match, length: int) -> None:
        """A request had a body of that declared length."""
        ...

    def tick(self) -> None:
        """A second has passed."""
        ...


@final
class NullObserver:
    """Looks away: for servers whose requests nobody counts."""

    logs = False

    def tally(self, method: str, match: Match | None, status: int, label: str = "") -> Tally:
        """See ``Observer``."""
        del self, method, match, status, label
        return Tally()

    def answered(self, answered: Answered) -> None:
        """See ``Observer``."""
        del self, answered

    def body_bytes(self, match: Match, length: int) -> None:
        """See ``Observer``."""
        del self, match, length

    def tick(self) -> None:
        """See ``Observer``."""
