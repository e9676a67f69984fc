"""OFREP event streams, authorized by a ticket in their address (spec/behaviour#ofrep)."""

import base64
import binascii
from typing import Final, final
from urllib.parse import urlencode

from ff_proxy.api.tokens import Tokens
from ff_proxy.errors import RequestError
from ff_proxy.http.handler import Handover
from ff_proxy.http.request import Request
from ff_proxy.http.response import EVENT_STREAM, FORBIDDEN, RETRY_SOON, UNAUTHORIZED, UNAVAILABLE
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.streams.hub import Hub, StreamOpening, StreamProtocol

EVENTS_PATH: Final = "/ofrep/v1/events"
EVENTS_HEADERS: Final = (b"last-event-id",)
"""The header fields the response depends on; a browser's EventSource can send no others."""

_PERIOD_SECONDS: Final = 1800


@final
class StreamTickets:
    """Issues and checks tickets: short-lived permissions to listen to one environment, for one SDK key.

    A ticket is valid in the half-hour period in which it was issued and in the next one.

    Args:
        tokens: signs the tickets.
        clock: wall-clock time.
    """

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens: Final = tokens
        self._clock: Final = clock

    def period(self) -> int:
        """The number of the current half-hour period."""
        return int(self._clock.wall()) // _PERIOD_SECONDS

    def address(self, environment: EnvironmentId, key: SdkKeyHash) -> str:
        """The stream's path and query below the service's root; empty while no secret is known."""
        content = f"{environment} {key} {self.period()}".encode()
        try:
            signature = self._tokens.sign(environment, content)
        except RequestError:
            return ""
        ticket = base64.urlsafe_b64encode(content + b" " + signature.hex().encode()).decode().rstrip("=")
        return f"{EVENTS_PATH}?{urlencode({'ticket': ticket})}"

    def read(self, ticket: str) -> tuple[EnvironmentId, SdkKeyHash] | None:
        """The environment and key of a ticket; ``None`` if it is invalid or expired."""
        try:
            content, _, signature = base64.urlsafe_b64decode(ticket + "==").rpartition(b" ")
            environment, key, period = content.decode().rsplit(" ", 2)
            age = self.period() - int(period)
            given = bytes.fromhex(signature.decode())
        except (binascii.Error, ValueError):
            return None
        if age not in {0, 1} or not self._tokens.signed(EnvironmentId(environment), content, given):
            return None
        return EnvironmentId(environment), SdkKeyHash(key)


class OfrepStreamRequests:
    """Hands connections to the hub.

    Args:
        tickets: checks tickets.
        snapshots: says whether the ticket's key is still valid.
        hub: takes over the connections.
    """

    def __init__(self, tickets: StreamTickets, snapshots: SnapshotRegistry, hub: Hub) -> None:
        self._tickets = tickets
        self._snapshots = snapshots
        self._hub = hub

    def __call__(self, request: Request) -> Handover:
        """Answer one request; raises ``RequestError`` 401, 403 or 503."""
        granted = self._tickets.read(request.parameter("ticket") or "")
        if granted is None:
            raise RequestError(UNAUTHORIZED, "the ticket is missing, invalid or expired: evaluate again")
        environment, key = granted
        snapshot = self._snapshots.get(environment)
        if snapshot is None:
            raise RequestError(UNAVAILABLE, "the environment is not loaded yet", retry_after=RETRY_SOON)
        if key not in snapshot.keys:
            raise RequestError(FORBIDDEN, "the SDK key of this ticket is no longer valid")
        seen = (request.headers.get(b"last-event-id") or b"").decode("latin-1")
        opening = StreamOpening(environment, key, protocol=StreamProtocol.OFREP, seen=seen)
        return Handover(
            EVENT_STREAM,
            environment,
            lambda transport, head, closed: self._hub.open_transport(transport, opening, head, closed),
        )
