"""One open SDK stream: what is left of a connection once its response head is out."""

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
    """Whom a stream belongs to: its environment's channel."""

    def wake(self, stream: "Stream") -> None:
        """The stream's slot has come: write to it when its turn comes."""
        ...

    def beat(self, stream: "Stream") -> None:
        """A heartbeat is due."""
        ...

    def resync(self, stream: "Stream") -> None:
        """The stream's SDK has had time to fetch: send it everything if it has not."""
        ...

    def drained(self, stream: "Stream") -> None:
        """The stream's last write has left the transport's buffer, after it had been stuck there."""
        ...

    def lost(self, stream: "Stream", reason: str) -> None:
        """The connection is gone; called exactly once per stream."""
        ...


class Stream(asyncio.Protocol):
    """The protocol of an open stream: small, since there are thousands; the hub decides what it sends.

    Attributes:
        owner: its environment's channel.
        key: the SDK key it was opened with, if keys are checked.
        position: up to where the stream was told of its environment's recent events.
        resync: what it still gets beyond them, from ``resync_position`` on, if anything.
        token: its token, while it is to get everything unless its SDK fetches both lists first.
        due: monotonic seconds before which nothing more is written to it.
        stuck: its last write still waits in the transport's buffer.
        beat: a heartbeat is due.
        ending: why it ended or is about to; empty while it is open. Nothing is sent from then on.
        slot: its place among the heartbeats.
        raw: its SDK reads the connection beneath the chunks, and notices only that it is closed.
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
        """Become the transport's protocol; the kernel gives up on a peer silent for ``patience`` seconds."""
        transport = self._transport
        transport.set_protocol(self)
        # Any unsent byte counts as stuck. A TLS transport compares with >=, so that 0 would mean "always".
        secure = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=1 if secure else 0, low=0)
        if not transport.is_reading():
            transport.resume_reading()  # or the client's leaving would go unnoticed
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):  # not TCP: a Unix socket has no such peers
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1000))

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the transport; ``stuck`` tells whether it left at once."""
        try:
            self._transport.write(data)
        except (OSError, RuntimeError):
            # The transport closed under us; connection_lost follows or has been.
            self._transport.abort()

    def finish(self) -> None:
        """End the response cleanly and close once everything has left.

        Where only the end of the connection is noticed, the response is left incomplete: a load balancer that
        keeps its connection to the SDK has to close it then (spec/sdk-wire#trap-16).
        """
        if not self.raw:
            self.write(LAST_CHUNK)
        self._transport.close()

    def abort(self) -> None:
        """Close now; what has not left is dropped."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Ignore what a client says after its request, up to a bound."""
        self._ignored += len(data)
        if self._ignored > _IGNORED_BYTES:
            self.ending = self.ending or "talkative"
            self._transport.abort()

    def pause_writing(self) -> None:
        """The last write did not leave at once."""
        self.stuck = True

    def resume_writing(self) -> None:
        """It has left now."""
        self.stuck = False
        self.owner.drained(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the hub, then tell whoever opened the stream."""
        # The kernel gives up on a peer with a timeout: see take_over.
        self.ending = self.ending or ("stalled" if isinstance(exc, TimeoutError) else "left")
        self.owner.lost(self, self.ending)
        self._on_closed()
