"""One open SDK stream: the protocol of a connection after its response head."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.streams.event_log import OneWrite, Resync
from ff_proxy.streams.framing import LAST_CHUNK

_IGNORED_BYTES: Final = 64 * 1024


class StreamOwner(Protocol):
    """The owner of a stream: its environment's channel."""

    def wake(self, stream: "Stream") -> None:
        """The stream's slot is due: write to it when its turn comes."""
        ...

    def beat(self, stream: "Stream") -> None:
        """A heartbeat is due."""
        ...

    def resync(self, stream: "Stream") -> None:
        """The stream's SDK has had time to fetch; if it has not, send an event for each item."""
        ...

    def drained(self, stream: "Stream") -> None:
        """The stream is no longer stuck: its last write has been sent."""
        ...

    def lost(self, stream: "Stream", reason: str) -> None:
        """The connection has closed; called exactly once per stream."""
        ...


class Stream(asyncio.Protocol):
    """The protocol of an open stream: small, since there are thousands; the hub decides what it sends.

    Attributes:
        owner: its environment's channel.
        key: the SDK key it was opened with, if keys are checked.
        position: its position in the environment's event log.
        resync: the resync it still gets, from ``resync_position`` on, if any.
        token: its token, if a resync is scheduled that is skipped once the SDK has fetched both lists.
        due: nothing is written to it before this time (monotonic seconds).
        stuck: its last write is still in the transport's buffer.
        beat: a heartbeat is due.
        ending: why it ended or is ending; empty while it is open. Nothing is sent from then on.
        slot: its slot in the heartbeat wheel.
        raw: its SDK ignores the last chunk, and only notices that the connection closes.
    """

    __slots__ = (
        "_ignored",
        "_on_closed",
        "_transport",
        "beat",
        "due",
        "ending",
        "key",
        "owner",
        "position",
        "raw",
        "resync",
        "resync_position",
        "slot",
        "stuck",
        "token",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        owner: StreamOwner,
        key: SdkKeyHash | None,
        position: int,
        on_closed: Callable[[], None],
        *,
        raw: bool = False,
    ) -> None:
        self._transport: Final = transport
        self.owner: Final = owner
        self._on_closed: Final = on_closed
        self._ignored = 0
        self.key: Final = key
        self.raw: Final = raw
        self.position = position
        self.resync: Resync | OneWrite | None = None
        self.resync_position = 0
        self.token = b""
        self.due = 0.0
        self.stuck = False
        self.beat = False
        self.ending = ""
        self.slot = 0

    def take_over(self, patience: float) -> None:
        """Become the transport's protocol; the kernel drops a peer silent for ``patience`` seconds."""
        transport = self._transport
        transport.set_protocol(self)
        # Any unsent byte counts as stuck. A TLS transport compares with >=, so 0 would mean "always".
        secure = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=1 if secure else 0, low=0)
        if not transport.is_reading():
            transport.resume_reading()  # to notice when the client disconnects
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):  # a Unix socket has no such option
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1000))

    def write(self, data: bytes) -> None:
        """Write ``data``; ``stuck`` says afterwards whether it is still unsent."""
        try:
            self._transport.write(data)
        except (OSError, RuntimeError):
            # The transport has closed; connection_lost has been called or will be.
            self._transport.abort()

    def finish(self) -> None:
        """End the response cleanly, and close once everything is sent.

        For a ``raw`` SDK the response is left incomplete: that makes a load balancer in between close its
        connection to the SDK, which it would otherwise keep open (spec/sdk-wire#trap-16).
        """
        if not self.raw:
            self.write(LAST_CHUNK)
        self._transport.close()

    def abort(self) -> None:
        """Close now; unsent data is dropped."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Ignore what a client sends after its request, up to a bound."""
        self._ignored += len(data)
        if self._ignored > _IGNORED_BYTES:
            self.ending = self.ending or "talkative"
            self._transport.abort()

    def pause_writing(self) -> None:
        """The last write could not be sent at once."""
        self.stuck = True

    def resume_writing(self) -> None:
        """The last write has been sent."""
        self.stuck = False
        self.owner.drained(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the channel, then call ``on_closed``."""
        # After TCP_USER_TIMEOUT the kernel reports a timeout: see take_over.
        self.ending = self.ending or ("stalled" if isinstance(exc, TimeoutError) else "left")
        self.owner.lost(self, self.ending)
        self._on_closed()
